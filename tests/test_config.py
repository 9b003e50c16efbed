import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import trs_explorer
from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.catalogue import DATA, METHODS, MODELS, load
from trs_explorer.config import DEFAULTS, FORMAT, REQUIRED, SETTINGS, TrainConfig, absolute, from_json, resolve, same_split
from trs_explorer.options import HYPER_PARAMETERS, Option, UsageError


def test_nothing_given_is_trs_on_mnist_with_the_declared_defaults() -> None:
    config = resolve({})
    assert (config.method, config.data) == ("trs", "mnist")
    assert config.options == METHODS["trs"].defaults
    assert all(getattr(config, name) == value for name, value in DEFAULTS.items())


def test_every_default_recipe_and_fixed_value_is_itself_allowed() -> None:
    known = SETTINGS | HYPER_PARAMETERS
    for table in (*(m.defaults for m in METHODS.values()), *(d.recipe for d in DATA.values()), DEFAULTS):
        for name, value in table.items():
            assert known[name].check(value) == value
    for name, method in METHODS.items():
        assert set(method.fixed) <= set(method.defaults), name
    assert not set(SETTINGS) & set(HYPER_PARAMETERS)


def test_every_entry_of_the_tables_names_a_function() -> None:
    for entry in (*METHODS.values(), *ATTACKS.values(), *MODELS.values()):
        assert callable(load(entry.function)), entry
    for about in DATA.values():
        assert callable(load(about.loader)), about


@pytest.mark.parametrize(("room", "table"), [("attacks", ATTACKS), ("defences", METHODS)])
def test_every_file_with_a_function_of_its_own_name_is_in_its_table(room: str, table: dict) -> None:
    listed = {entry.function for entry in table.values()}
    files = (Path(trs_explorer.__file__).parent / room).glob("*.py")
    methods = {f"trs_explorer.{room}.{f.stem}:{f.stem}" for f in files if f"\ndef {f.stem}(" in f.read_text()}
    assert methods
    assert methods <= listed


def test_a_given_value_beats_the_data_sets_recipe_which_beats_the_method_which_beats_the_setting() -> None:
    assert METHODS["trs"].defaults["lambda_b"] != DATA["bars"].recipe["lambda_b"] != 0.7
    assert resolve({"data": "mnist"}).options["lambda_b"] == METHODS["trs"].defaults["lambda_b"]
    assert resolve({"data": "bars"}).options["lambda_b"] == DATA["bars"].recipe["lambda_b"]
    assert resolve({"data": "bars", "lambda_b": 0.7}).options["lambda_b"] == 0.7
    assert DEFAULTS["lr"] != DATA["bars"].recipe["lr"]
    assert resolve({}).lr == DEFAULTS["lr"]
    assert resolve({"data": "bars"}).lr == DATA["bars"].recipe["lr"]
    assert resolve({"data": "bars", "lr": 0.25}).lr == 0.25


@pytest.mark.parametrize("name", [name for name, about in DATA.items() if about.recipe])
@pytest.mark.parametrize("method", METHODS)
def test_a_data_set_gets_its_recipe_with_every_method(name: str, method: str) -> None:
    if method == "adp" and DATA[name].classes == 2:
        pytest.skip("adp needs three classes")
    config = resolve({"data": name, "method": method})
    assert config.model == ("resnet20" if name.startswith("cifar") else "mlp")
    for key, value in {**DATA[name].recipe, **METHODS[method].recipe, **DATA[name].method_recipes.get(method, {})}.items():
        if key in SETTINGS:
            assert getattr(config, key) == value
        elif key in METHODS[method].fixed:
            assert config.options[key] == METHODS[method].fixed[key]
        elif key in config.options and key != "delta_start":
            assert config.options[key] == value


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_its_own_options_and_no_others(method: str) -> None:
    options = resolve({"method": method}).options
    assert set(options) == set(METHODS[method].defaults)
    assert options.items() >= METHODS[method].fixed.items()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lambda_c": 1.0}, "there is no 'lambda_c'. Did you mean lambda_"),
        ({"options": {}}, "there is no 'options'"),
        ({"method": "trss"}, "--method: there is no 'trss'. Did you mean trs"),
        ({"data": "mnits"}, "--data: there is no 'mnits'. Did you mean mnist"),
        ({"model": "lenett"}, "--model: there is no 'lenett'. Did you mean lenet"),
        ({"members": 1}, "--members must be >= 2 and <= 64, got 1"),
        ({"members": True}, "--members takes a whole number, got True"),
        ({"lr": "nan"}, "--lr takes a number, got 'nan'"),
        ({"lr": math.nan}, "--lr must be > 0, got nan"),
        ({"precision": "float16"}, "--precision: there is no 'float16'. Did you mean"),
        ({"seed": 10**400}, "--seed must be"),
        ({"method": "standard", "lambda_a": 1.0}, "standard has no --lambda-a; its options: none"),
        ({"method": "cos-only", "lambda_b": 1.0}, "cos-only fixes --lambda-b at 0; use --method trs"),
        ({"method": "cos-l2", "delta": 0.1}, "cos-l2 fixes --delta at 0"),
        ({"method": "smooth-only", "lambda_a": 0.5}, "smooth-only fixes --lambda-a at 0"),
    ],
)
def test_refusals_name_the_value_and_the_way_out(values: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(values)


def test_a_number_may_be_the_text_of_a_fraction() -> None:
    assert resolve({"delta": "8/255", "lr": "1/4"}) == resolve({"delta": 8 / 255, "lr": 0.25})
    with pytest.raises(UsageError, match=r"--delta must be >= 0 and <= 1, got 2\.0"):
        resolve({"delta": "2/1"})


def test_a_fixed_option_may_be_given_at_its_fixed_value() -> None:
    assert resolve({"method": "cos-only", "lambda_b": 0}).options["lambda_b"] == 0


def test_delta_never_starts_above_its_end() -> None:
    assert resolve({"delta": 0.05}).options["delta_start"] == 0.05
    assert resolve({"method": "cos-l2"}).options["delta_start"] == 0.0
    assert resolve({"delta": 0.2, "delta_start": 0.15}).options["delta_start"] == 0.15


def _values(option: Option) -> st.SearchStrategy:
    if option.choices:
        return st.sampled_from(option.choices)
    if option.type is str:
        return st.text(max_size=8)
    if option.type is bool:
        return st.booleans()
    low, high = option.low, option.high
    if option.type is int:
        return st.integers(low, high if high is not None else 10**9)
    return st.floats(low, high if high is not None else 1e6, exclude_min=option.above_low)


_NAMES = {"method": st.sampled_from(list(METHODS)), "data": st.sampled_from(list(DATA)), "model": st.sampled_from(list(MODELS))}
_SETTINGS = {name: _NAMES.get(name, _values(option)) for name, option in SETTINGS.items()}


@settings(max_examples=40)
@given(st.fixed_dictionaries({}, optional=_SETTINGS), st.data())
def test_a_config_comes_back_from_json_as_it_was(given_settings: dict, data: st.DataObject) -> None:
    method = METHODS[given_settings.get("method", "trs")]
    free = {name: _values(HYPER_PARAMETERS[name]) for name in method.defaults if name not in method.fixed}
    own = data.draw(st.fixed_dictionaries({}, optional=free))
    try:
        config = resolve(given_settings | own)
    except UsageError as error:
        known = ("--smoothness beta", "--augment", "adp needs", "--epochs must be", "drop --from", "belongs to --adversarial")
        known += ("--data-dir", "without a zero byte")
        assume(not any(words in str(error) for words in known))
        raise
    for name, value in given_settings.items():
        assert getattr(config, name) == (absolute(value) if name == "data_dir" else value)
    assert from_json(json.loads(json.dumps(config.to_json()))) == config


def _stored(**changes: object) -> dict:
    return json.loads(json.dumps(resolve({}).to_json())) | changes


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stored_config_without_a_setting_has_its_default_unless_the_run_means_nothing_without(name: str) -> None:
    stored = _stored()
    del stored[name]
    if name in REQUIRED:
        with pytest.raises(UsageError, match=f"config.json lacks {name}$"):
            from_json(stored)
    else:
        assert from_json(stored) == resolve({})


def test_a_config_from_before_an_option_came_has_that_options_default() -> None:
    stored = _stored()
    del stored["options"]["smoothness"]
    assert from_json(stored).options["smoothness"] == "norm"
    stored["options"]["brand_new"] = 1
    with pytest.raises(UsageError, match="takes the options"):
        from_json(stored)


def test_beta_needs_a_radius() -> None:
    with pytest.raises(UsageError, match=r"--smoothness beta .* give a --delta > 0"):
        resolve({"smoothness": "beta", "delta": 0})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": FORMAT + 1}, f"format {FORMAT + 1}, this trs reads up to {FORMAT}: update"),
        ({"format": None}, "no format number"),
        ({"format": "1"}, "no format number"),
        ({"format": True}, "no format number"),
        ({"format": 0}, "no format number"),
        ({"options": None}, "lacks options"),
        ({"options": []}, "lacks options"),
        ({"options": {**METHODS["trs"].defaults, "extra": 1}}, "trs takes the options lambda_a, "),
        ({"options": {**METHODS["trs"].defaults, "delta": 2}}, "--delta must be >= 0 and <= 1, got 2"),
        ({"method": "cos-only"}, "cos-only has lambda_b 0.0, not 0.1"),
        ({"method": "nosuch"}, "config.json method: there is no 'nosuch'"),
        ({"data": "nosuch"}, "config.json data: there is no 'nosuch'"),
        ({"model": "nosuch"}, "config.json model: there is no 'nosuch'"),
        ({"members": 3.5}, "--members takes a whole number, got 3.5"),
        ({"seed": 10**400}, "--seed must be"),
        ({"lr": 10**400}, "--lr must be"),
    ],
)
def test_a_stored_config_that_is_wrong_is_refused_in_words(changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        from_json(_stored(**changes))


def test_a_stored_config_from_a_later_version_of_this_format_may_say_more() -> None:
    assert from_json(_stored(remark="hello")) == resolve({})


def test_a_config_from_before_augmentation_has_none_whatever_the_recipe_says_now() -> None:
    stored = _stored(data="cifar10")
    del stored["augment"]
    assert resolve({"data": "cifar10"}).augment
    assert not from_json(stored).augment
    assert not resolve({"data": "cifar10", "augment": False}).augment
    assert not resolve({}).augment


def test_the_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_a_data_folder_is_absolute_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    places = {"data": "data", "./a/../data": "data", "~/data": "home/data", "link/data": "real/data"}
    for given_as, place in places.items():
        assert resolve({"data_dir": given_as}).data_dir == str(tmp_path.resolve() / place)
    assert resolve({"data_dir": str(tmp_path)}).data_dir == str(tmp_path.resolve())
    assert resolve({}).data_dir == ""
    for bad in ("a\0b", "~nobody-has-this-name/data"):
        with pytest.raises(UsageError, match="--data-dir"):
            resolve({"data_dir": bad})


EMBEDDED = dict(DATA["mnist"].fingerprint)


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, EMBEDDED),
        ({"data_fingerprint": {}}, EMBEDDED),  # an older run on what comes with trs: nothing else can it have been
        ({"data_fingerprint": {}, "data_dir": "data"}, {}),
        ({"data_fingerprint": {"test": "1"}, "data_dir": "/data"}, {"test": "1"}),
        ({"data_fingerprint": {"test": "1", "validation": "2"}}, {"test": "1"}),
        ({"data": "fashion-mnist", "data_fingerprint": {}}, {}),
    ],
)
def test_which_data_a_stored_config_knows(changes: dict, known: dict) -> None:
    assert from_json(_stored(**changes)).data_fingerprint == known
    older = _stored(**changes)
    del older["data_fingerprint"]
    assert from_json(older).data_fingerprint == (EMBEDDED if older["data"] == "mnist" and not older["data_dir"] else {})


@pytest.mark.parametrize("bad", ["1", [1], {"test": 1}, {"train": None}])
def test_a_damaged_fingerprint_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match=r"config\.json: data_fingerprint"):
        from_json(_stored(data_fingerprint=bad))


@pytest.mark.parametrize(
    ("mine", "theirs", "same"), [("1", "1", True), ("1", "2", False), ("1", "", True), ("", "2", True), ("", "", True)]
)
def test_splits_are_the_same_unless_they_are_known_to_differ(mine: str, theirs: str, same: bool) -> None:
    one, other = (dataclasses.replace(resolve({}), data_fingerprint={"test": known}) for known in (mine, theirs))
    assert same_split(one, other, "test") is same
    assert same_split(one, other, "train")
    assert not same_split(one, dataclasses.replace(other, data="fashion-mnist"), "test")
