"""The configuration of a run: RecBole's, with the models, property files and keys of recbole_mm."""


def __getattr__(name: str) -> object:
    if name == "MultiModalConfig":
        from recbole_mm.config.multimodal_config import MultiModalConfig

        return MultiModalConfig
    raise AttributeError(f"module 'recbole_mm.config' has no attribute '{name}'")
