"""CheckedFilters: what filters, labels and the split make of one of RecBole's data sets, and what is said about it."""

from collections.abc import Callable, Sequence
from functools import partial

from recbole.utils import FeatureType

from recbole_mm.config.intervals import INTERVALS, is_interval
from recbole_mm.config.labels import is_tested_on_labels, learns_from_labels
from recbole_mm.data.loaded_columns import filtered_columns, list_column
from recbole_mm.errors import InputError, listed
from recbole_mm.terminal import labelled, say

FILTERS = ("rm_dup_inter", "val_interval", "user_inter_num_interval", "item_inter_num_interval")
PARTS = ("training", "validation", "test")


class CheckedFilters:
    """A mixin that stands before one of RecBole's dataset classes. Every filter says how many interactions it leaves out, and none may
    leave nothing."""

    def _set_alias(self, alias_name: str, default_value: Sequence[str]) -> None:
        """The histories in the benchmark files of a sequential model hold items."""
        for column in self.config[f"alias_of_{alias_name}"] or ():
            if column in self.field2type and self.field2type[column] not in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ):
                raise InputError(f"alias_of_{alias_name}: {column} is {self.field2type[column].value}, and ids are tokens; leave it out")
        histories = list_column(self.config)
        more = [histories] if alias_name == "item_id" and histories in self.field2type else []
        super()._set_alias(alias_name, [*default_value, *more])

    def _benchmark_presets(self) -> None:
        self.item_id_list_field = list_column(self.config)
        self._cut_histories(self.config["MAX_ITEM_LIST_LENGTH"], self.config["LIST_SUFFIX"])
        super()._benchmark_presets()

    def _cut_histories(self, most: int, suffix: str) -> None:
        """Leaves the last items of the histories in benchmark files, and what else they have a list of."""
        longer = int((self.inter_feat[self.item_id_list_field].map(len) > most).sum())
        if not longer:
            return
        for field in self.inter_feat:
            if field.endswith(suffix) and field.removesuffix(suffix) in self.inter_feat:
                self.inter_feat[field] = self.inter_feat[field].map(lambda values: values[-most:])
                self.field2seqlen[field] = min(self.field2seqlen[field], most)
        self.logger.info(f"the last {most} items of {longer:,} longer histories are read (MAX_ITEM_LIST_LENGTH)")

    def _data_processing(self) -> None:
        ignored = [key for key in FILTERS if self.benchmark_filename_list is not None and self.config[key] not in (None, "[0,inf)")]
        if ignored:
            self.logger.warning(f"not used: {', '.join(ignored)}, because benchmark files are taken as they are")
        super()._data_processing()

    def _data_filtering(self) -> None:
        super()._data_filtering()
        for column in self.read_for_filters:
            self._del_col(self.inter_feat, column)
        self._rest_fields = [field for field in self._rest_fields if field not in self.read_for_filters]

    def _remove_duplication(self) -> None:
        self._counted("rm_dup_inter", super()._remove_duplication)

    def _filter_by_field_value(self) -> None:
        for column in filtered_columns(self.config):
            self._counted(f"val_interval of {column}", partial(self._keep_values, column, self.config["val_interval"][column]))

    def _keep_values(self, column: str, wanted: str | Sequence) -> None:
        """Drops the rows of which a number is in none of the intervals, or a token is none of those that are listed."""
        kind = self.field2type.get(column)
        if kind not in (FeatureType.FLOAT, FeatureType.TOKEN):
            raise InputError(f"val_interval: {column} is {'not read' if kind is None else kind.value}, and filters are for columns of "
                             "type float and token")  # fmt: skip
        if kind == FeatureType.FLOAT and not is_interval(wanted):
            raise InputError(f"val_interval: {column} holds numbers, and {list(wanted)} is {INTERVALS.words.replace('an ', 'no ', 1)}")
        for table in self.field2feats(column):
            if kind == FeatureType.FLOAT:
                kept = self._within_intervals(table[column].values, self._parse_intervals_str(wanted))
            elif isinstance(wanted, str):
                some = ", ".join(map(repr, sorted(table[column].dropna().unique())[:3]))
                raise InputError(f"val_interval: {column} holds tokens, which are listed, such as [{some}]; write {column}:float into the "
                                 "header if they are numbers")  # fmt: skip
            else:
                kept = table[column].isin(map(str, wanted))
            table.drop(table.index[~kept], inplace=True)

    def _filter_inter_by_user_or_item(self) -> None:
        self._counted("filter_inter_by_user_or_item", super()._filter_inter_by_user_or_item)

    def _filter_by_inter_num(self) -> None:
        self._counted("user_inter_num_interval and item_inter_num_interval", super()._filter_by_inter_num)

    def _counted(self, keys: str, filter_rows: Callable[[], None]) -> None:
        before = len(self.inter_feat)
        filter_rows()
        left = len(self.inter_feat)
        if not left:
            raise InputError(f"{keys}: none of the {before:,} interactions is left; let the filter pass more")
        if left < before:
            say(labelled("filter", f"{keys}: {before - left:,} of {before:,} interactions are left out"))

    def _set_label_by_threshold(self) -> None:
        threshold = self.config["threshold"]
        if threshold and not self._uses_labels():
            column, least = next(iter(threshold.items()))
            self.logger.warning(
                f"threshold: {{{column}: {least}}} only gives labels, which {self.config['model']} does not read: all interactions count "
                f"as positive, in training and in the test. To keep the others out, write val_interval: {{{column}: '[{least},inf)'}}"
            )
        super()._set_label_by_threshold()
        self._say_what_labels_are()

    def _uses_labels(self) -> bool:
        return learns_from_labels(self.config) or is_tested_on_labels(self.config)

    def _say_what_labels_are(self) -> None:
        """A label that is no 0 or 1, or always the same, teaches nothing; one that is not read changes nothing."""
        label, model = self.label_field, self.config["model"]
        if not self._uses_labels():
            if label in self.interaction_columns and not self.config["threshold"]:
                self.logger.warning(f"LABEL_FIELD: {label} is not read by {model}: all interactions count as positive, in training and in "
                                    f"the test. To keep some out, write val_interval: {{{label}: '(0,inf)'}}, for example")  # fmt: skip
            return
        if label not in self.inter_feat:
            return
        values = self.inter_feat[label]
        if not values.between(0, 1).all():
            raise InputError(f"LABEL_FIELD: {label} holds {values.min():g} to {values.max():g}, not 0 and 1; set threshold, such as "
                             f"{{{label}: {values.median():g}}}, which makes labels of it")  # fmt: skip
        if values.nunique() == 1:
            self.logger.warning(f"{label} is {values.iloc[0]:g} in every interaction: there is nothing to learn from it")

    def build(self) -> list:
        """RecBole's parts of the split.

        Raises:
            InputError: there are no interactions for training, or neither for validation nor for the test.
        """
        parts = super().build()
        empty = [name for name, part in zip(PARTS, parts, strict=False) if not len(part)]
        if "training" in empty or len(empty) > 1:
            keys = f"benchmark_filename {listed(self.config['benchmark_filename'])}" if self.config["benchmark_filename"] else (
                f"eval_args split {self.config['eval_args']['split']} of {sum(map(len, parts)):,} interactions")  # fmt: skip
            raise InputError(f"{keys} leaves nothing for {' and '.join(empty)}; every user needs several interactions, or group_by: none")
        if empty:
            self.logger.warning(f"the split leaves nothing for {empty[0]}" + (
                ": the last epoch is tested, not the best one" if empty[0] == "validation" else ": there is no test result"))  # fmt: skip
        return parts
