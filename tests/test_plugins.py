"""Code of others: what its names mean, and that none of it runs unless it is allowed."""

import functools
import json
import sys
from pathlib import Path

import pytest
from custom_code import forgotten, write_mine

from trs_explorer import plugins
from trs_explorer.options import UsageError


@pytest.fixture(autouse=True)
def _forgotten():
    with forgotten():
        yield


def loaded(name: str, kind: str = "model"):
    plugins.allow(kind, name)
    return plugins.load(kind, name)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mine.py:net", True),
        ("a folder/mine.py:Outer.net", True),
        ("C:\\nets\\mine.py:net", True),
        ("package.module:net", True),
        ("module:net", True),
        ("trs", False),
        ("images.npz", False),
        ("C:\\data\\x.npz", False),
        ("mine.py", False),
        ("mine.py:", False),
        ("mine.py:two words", False),
        ("1module:net", False),
        ("", False),
    ],
)
def test_what_is_a_reference(name, reference):
    assert plugins.is_reference(name) == reference


def test_nothing_runs_unless_it_is_allowed(tmp_path):
    marker = tmp_path / "ran"
    path = write_mine(tmp_path, f"open({str(marker)!r}, 'w').close()\nnet = 1\n")
    with pytest.raises(UsageError, match=r"^mine.py:net is code of others, which runs only with --allow-code"):
        plugins.load("model", f"{path}:net")
    plugins.allow("model", f"{path}:other")  # another object of the file is another permission
    with pytest.raises(UsageError, match="allow-code"):
        plugins.load("model", f"{path}:net")
    assert not marker.exists()
    assert loaded(f"{path}:net") == 1
    assert marker.exists()


def test_a_file_is_found_by_any_path_to_it_and_run_once(tmp_path, monkeypatch, capsys):
    write_mine(tmp_path)
    monkeypatch.chdir(tmp_path)
    plugins.allow("model", "mine.py:Net")
    nets = [plugins.load("model", name) for name in ("mine.py:Net", f"{tmp_path}/mine.py:Net", "./mine.py:Net")]
    assert nets[0] is nets[1] is nets[2]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "imported\n")  # stdout may be JSON
    assert plugins.short(f"{tmp_path}/mine.py:Net") == "mine.py:Net"
    assert plugins.stem(f"{tmp_path}/mine.py:Net") == "Net"


def test_files_beside_it_can_be_imported_and_none_takes_the_place_of_python_s(tmp_path):
    write_mine(tmp_path, "value = 7\n", "beside_it.py")
    write_mine(tmp_path, "raise SystemExit('the wrong one')\n", "colorsys.py")
    path = write_mine(tmp_path, "import colorsys\nfrom beside_it import value\nnet = value, colorsys.__file__\n")
    value, used = loaded(f"{path}:net")
    assert value == 7
    assert not used.startswith(str(tmp_path))


def test_a_module_is_found_in_the_current_folder(tmp_path, monkeypatch):
    package = tmp_path / "my_nets_here"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "small.py").write_text("class net:\n    inner = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert loaded("my_nets_here.small:net.inner") == 3


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("x = 1\n", "missing.py:x", r"missing.py: there is no such file$"),
        ("def nets(): pass\n", "mine.py:net", r"there is no 'net'. Did you mean nets\? Choose from nets$"),
        ("x = 1\n", "mine.py:net", r"there is no 'net'. Choose from nothing$"),
        ("import os\n\nx = undefined\n", "mine.py:x", r"mine.py, line 3: NameError: name 'undefined' is not defined$"),
        ("x = 1\nx =\n", "mine.py:x", r"mine.py, line 2: SyntaxError: invalid syntax$"),
        ("def f():\n    raise ValueError('no\\nway')\nf()\n", "mine.py:x", r"mine.py, line 2, in f: ValueError: no way$"),
        ("raise SystemExit\n", "mine.py:x", r"mine.py, line 1: SystemExit: no message$"),
        ("import nosuchmodule_\n", "mine.py:x", r"mine.py, line 1: ModuleNotFoundError: No module named 'nosuchmodule_'$"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(tmp_path, text, name, words):
    write_mine(tmp_path, text)
    with pytest.raises(UsageError, match=words) as error:
        loaded(f"{tmp_path}/{name}")
    assert str(error.value).startswith(f"--model: {tmp_path}")
    assert "\n" not in str(error.value)


def test_a_module_that_is_missing_is_named_with_the_way_out():
    with pytest.raises(UsageError, match=r"no module nosuchmodule_.small is installed, or in this folder: .*file.py:object"):
        loaded("nosuchmodule_.small:net")


def test_ctrl_c_during_an_import_is_no_error_of_the_file(tmp_path):
    path = write_mine(tmp_path, "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        loaded(f"{path}:x")


def test_where_names_the_deepest_line_of_the_user_and_none_of_ours(tmp_path):
    path = write_mine(tmp_path, "def outer(f):\n    return f()\n\n\ndef inner():\n    return [][0]\n")
    outer, inner = (loaded(f"{path}:{name}") for name in ("outer", "inner"))
    with pytest.raises(IndexError) as error:
        outer(inner)
    assert plugins.where(error.value) == f"{path}, line 6, in inner: IndexError: list index out of range"
    with pytest.raises(ZeroDivisionError) as error:
        outer(lambda: 1 / 0)  # not in their file, but called by it
    assert plugins.where(error.value) == f"{path}, line 2, in outer: ZeroDivisionError: division by zero"
    with pytest.raises(ZeroDivisionError) as error:
        1 / 0  # noqa: B018
    assert plugins.where(error.value) == ""


def test_where_names_what_their_file_imports_from_a_library_and_their_line_where_the_library_fails(tmp_path, monkeypatch):
    site = tmp_path / "env" / "site-packages"
    site.mkdir(parents=True)
    library = write_mine(
        site, "def fails():\n    return [][0]\n\n\nclass Fails:\n    def run(self):\n        fails()\n", "outer_lib_.py"
    )
    monkeypatch.syspath_prepend(site)
    text = "import json\nimport outer_lib_\nfrom outer_lib_ import Fails\n\n\ndef f():\n    outer_lib_.fails()\n"
    path = write_mine(tmp_path, f"{text}\n\ndef g():\n    json.loads('x')\n")
    monkeypatch.setattr(plugins, "_STANDARD", Path(json.__file__).parents[1])
    monkeypatch.setattr(plugins, "_folders", {Path(json.__file__).parents[2]})  # Python itself lies below a folder of theirs
    assert plugins.where(failure(loaded(f"{path}:f"))) == f"{path}, line 7, in f: IndexError: list index out of range"
    assert plugins.where(failure(loaded(f"{path}:g"))).startswith(f"{path}, line 11, in g: JSONDecodeError: Expecting value")
    fails = loaded(f"{path}:Fails")
    assert plugins.where(failure(fails().run)) == f"{library}, line 2, in fails: IndexError: list index out of range"


def failure(function) -> Exception:
    with pytest.raises(Exception, match=r"\w") as error:
        function()
    return error.value


# --- names of installed packages -------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An installed package with entry points, whose module leaves a mark when it runs."""
    site = tmp_path / "site"
    (site / "their_nets-1.0.dist-info").mkdir(parents=True)
    (site / "their_nets-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: their-nets\nVersion: 1.0\n")
    points = "[trs_explorer]\nattack.slide = their_nets_:slide\nmodel.tiny = their_nets_:tiny\nboth = their_nets_:both\n"
    (site / "their_nets-1.0.dist-info" / "entry_points.txt").write_text(points)
    mark = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    (site / "their_nets_.py").write_text(mark + "slide, tiny, both = 'slide', 'tiny', 'both'\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    return tmp_path


def test_packages_add_names_by_kind_and_none_of_their_code_runs_for_a_list(package):
    assert plugins.installed("attack") == ("both", "slide")
    assert plugins.installed("model") == ("both", "tiny")
    assert plugins.installed("method") == ("both",)
    assert plugins.is_foreign("attack", "slide")
    assert not plugins.is_foreign("model", "slide")
    with pytest.raises(UsageError, match="slide is code of others"):
        plugins.load("attack", "slide")
    assert not (package / "ran").exists()
    assert loaded("slide", "attack") == "slide"
    assert loaded("both", "method") == "both"
    with pytest.raises(UsageError, match=r"--attack: there is no 'tiny'. Choose from both, slide"):
        plugins.load("attack", "tiny")


def test_a_broken_package_is_named(package):
    (package / "site" / "their_nets_.py").write_text("raise ValueError('seven')\n")
    words = r"^--attack: slide, of an installed package, their_nets_:slide: .*their_nets_.py, line 1: ValueError: seven$"
    sys.modules.pop("their_nets_", None)
    with forgotten(), pytest.raises(UsageError, match=words):
        loaded("slide", "attack")


def test_an_object_of_this_process_has_a_name_that_stands_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Net:
        def __call__(self) -> None: ...

    def loss() -> None: ...

    here = "test_an_object_of_this_process_has_a_name_that_stands_for_it_alone"
    with forgotten():
        for thing, name in (
            (loss, f"{here}.loss"),
            (Net, f"{here}.Net"),
            (Net(), f"{here}.Net"),
            (functools.partial(loss), f"{here}.loss"),
            (lambda: None, f"{here}.lambda_"),
        ):
            found = plugins.name_of("method", thing)
            assert found == f"{__name__}:{name}"
            assert plugins.is_reference(found)
            assert plugins.load("method", found) is thing
        monkeypatch.setattr(loss, "__module__", "__main__")
        assert plugins.name_of("method", loss) == f"__main__:{here}.loss"
    with forgotten():
        plugins.allow("method", f"__main__:{here}.loss")
        with pytest.raises(UsageError, match="was defined in a notebook or a script of another process: put it in a file"):
            plugins.load("method", f"__main__:{here}.loss")
