"""The command ``serve``."""

import argparse
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

import uvicorn

from recbole_mm.config.plugins import load_plugins
from recbole_mm.errors import InputError
from recbole_mm.parallel.read_ahead import available_cores
from recbole_mm.serving.export.layout import read_manifest
from recbole_mm.serving.recommender import Recommender
from recbole_mm.serving.service.auth import api_key
from recbole_mm.serving.service.metrics import shared_by_workers
from recbole_mm.serving.service.worker import leave_order

WORKER = "recbole_mm.serving.service.worker:app"


def serve(arguments: argparse.Namespace, _: list[str]) -> int:
    """Serves an exported folder over HTTP until it is interrupted."""
    if not 0 <= arguments.port < 2**16:
        raise InputError(f"--port={arguments.port} must be between 0 (any that is free) and 65535")
    if arguments.workers < 1:
        raise InputError(f"--workers={arguments.workers} must be above 0")
    key, manifest = api_key(arguments.api_key_file), read_manifest(Path(arguments.folder))
    port, several = _free_port(arguments.host, arguments.port), arguments.workers > 1
    threads = max(1, available_cores() // arguments.workers) if several else None
    leave_order(str(Path(arguments.folder).resolve()), arguments.plugins, threads, key)
    if several:  # what cannot be loaded is told once, and not by every worker
        load_plugins(arguments.plugins.split(",") if arguments.plugins else None)
        Recommender.load(arguments.folder)
    with ExitStack() as stack:
        if several:
            shared_by_workers(stack.enter_context(tempfile.TemporaryDirectory(prefix="recbole_mm_metrics")))
        print(f"{manifest['model']} at {_address(arguments.host, port)}, {'writing with the API key' if key else 'read only'}", flush=True)
        uvicorn.run(
            WORKER, factory=True, host=arguments.host, port=port, workers=arguments.workers, access_log=arguments.verbose,
            log_level="info" if arguments.verbose else "warning", server_header=False,
            timeout_graceful_shutdown=5,
        )  # fmt: skip
    return 0


def _free_port(host: str, port: int) -> int:
    """The port, or for 0 one that is free.

    Raises:
        InputError: it is in use, or there is no such host here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot serve at {_address(host, port)}: {getattr(error, 'strerror', None) or error}") from error


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
