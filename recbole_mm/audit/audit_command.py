"""The command ``recbole-mm audit``: it takes the settings of a run, prints a report, and exits with 1 where it found an error."""

import json
from collections.abc import Sequence

from recbole_mm.audit.audited_data import locate, open_data
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


def main(
    model: str | None, dataset: str | None, files: list[str] | None, settings: Sequence[str], as_json: bool = False, shuffle: bool = False
) -> int:
    """Audits a data set and prints the report.

    Args:
        model: the split and the content do not depend on it; it may name the encoder of the shuffle test.
        settings: the command line, ``--key=value``.
        as_json: print one JSON object instead of text.
        shuffle: make the shuffle test as well.

    Returns:
        The exit status: 0, or 1 where something would stop a run or corrupt its result.

    Raises:
        InputError: no such data set, or an unknown key.
    """
    report = audit(CatalogueConfig(model, dataset, files, settings), shuffle)
    print(json.dumps(report.as_dict(), ensure_ascii=False) if as_json else report.as_text())
    return 0 if report.sound else 1


def audit(config: MultiModalConfig, shuffle: bool = False) -> Report:
    """Checks everything that the configuration names. Only the shuffle test builds an encoder.

    Raises:
        InputError: no such data set.
    """
    report = Report(config["dataset"], str(locate(config)))
    data = open_data(config, report)
    if data is None:
        return report
    check_interactions(data, report)
    check_items(data, check_pictures(data, report), check_texts(data, report), report)
    check_features(data, report)
    if data.dataset is None:
        return report
    try:
        check_split(data, report)
    except InputError as error:
        report.add("error", "split.impossible", f"a run cannot split the data: {error}", "the message says why")
        return report
    if shuffle:
        _shuffle_test(config, report)
    return report


def _shuffle_test(config: MultiModalConfig, report: Report) -> None:
    if not report.sound:
        report.add("info", "shuffle_test.left_out", "the shuffle test was not made", "repair the errors first")
        return
    from recbole_mm.audit.shuffle_test import shuffle_test

    try:
        shuffle_test(config, report)
    except InputError as error:
        report.add("warning", "shuffle_test.impossible", f"the shuffle test cannot be made: {error}", "the message says why")
