"""The command ``recbole-mm audit``: settings as for a run, a report on stdout, exit status 1 where an error was found."""

import json
from collections.abc import Sequence

from recbole_mm.audit.audited_data import AuditedData, locate, open_data
from recbole_mm.audit.check_features import check_features
from recbole_mm.audit.check_interactions import check_interactions
from recbole_mm.audit.check_items import check_items
from recbole_mm.audit.check_pictures import check_pictures
from recbole_mm.audit.check_split import check_split
from recbole_mm.audit.check_texts import check_texts
from recbole_mm.audit.report import Report
from recbole_mm.config.catalogue_config import CatalogueConfig
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError

SMALL = {"embedding_size": 32, "use_bias": False, "reg_weight": 0.001, "missing": "zero", "encoder_training": "pretrained"}


def main(
    model: str | None, dataset: str | None, files: list[str] | None, settings: Sequence[str], as_json: bool = False, shuffle: bool = False
) -> int:
    """Audits and prints; returns the exit status: 0, or 1 where something would stop a run or corrupt its result.

    Args:
        model: split and content do not depend on it; it may bring an encoder for ``shuffle``.
        settings: those of the command line, ``--key=value``.
        as_json: one JSON object instead of text.
        shuffle: the shuffle test as well.

    Raises:
        InputError: no data set, an unknown key.
    """
    report = audit(CatalogueConfig(model, dataset, files, settings), shuffle)
    print(json.dumps(report.as_dict(), ensure_ascii=False) if as_json else report.as_text())
    return 0 if report.sound else 1


def audit(config: MultiModalConfig, shuffle: bool = False) -> Report:
    """Looks at everything that the configuration names. No encoder is built but for ``shuffle``.

    Raises:
        InputError: there is no such data set.
    """
    report = Report(config["dataset"], str(locate(config)))
    data = open_data(config, report)
    if data is None:
        return report
    check_interactions(data, report)
    check_items(data, check_pictures(data, report), check_texts(data, report), report)
    check_features(data, report)
    if data.dataset is not None:
        _audit_split(data, report, shuffle)
    return report


def _audit_split(data: AuditedData, report: Report, shuffle: bool) -> None:
    try:
        training = check_split(data, report)
    except InputError as error:
        report.add("error", "split.impossible", f"a run cannot split it: {error}", "see the message")
        return
    if shuffle and report.sound:
        from recbole_mm.audit.shuffle_test import shuffle_test

        for key, value in SMALL.items():
            data.config[key] = value
        try:
            shuffle_test(data.config, training, report)
        except InputError as error:
            report.add("warning", "shuffle_test.impossible", f"the shuffle test cannot be made: {error}", "see the message")
    elif shuffle:
        report.add("info", "shuffle_test.left_out", "the shuffle test was left out", "repair the errors first")
