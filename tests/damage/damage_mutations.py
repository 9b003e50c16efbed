"""Ways to damage a run's folder. Each takes a generator of draws and the folder, changes it, and says in words what it did."""

import io
import json
import os
import socket
import stat
import struct
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random

import damage_values as odd
import torch

Mutation = Callable[[Random, Path], str]
MOST = 64 << 20  # bytes of a file that is still read to be damaged more
PLACES = ("config.json", "events.jsonl", "status.json", "control.jsonl", "trainer.lock", "train.log", "results")


def damage(rng: Random, folder: Path) -> list[str]:
    """Damage the folder in one to three ways; what was done, in words."""
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutation = rng.choices(list(MUTATIONS), list(MUTATIONS.values()))[0]
        try:
            done.append(f"{mutation.__name__}: {mutation(rng, folder)}")
        except Exception as error:  # damaged too much already
            done.append(f"{mutation.__name__}: not possible ({type(error).__name__})")
    return done


# --- any file's bytes --------------------------------------------------------------------------------------------------


def _files(folder: Path, suffix: str = "") -> list[Path]:
    return sorted(p for p in folder.rglob(f"*{suffix}") if p.is_file() and not p.is_symlink())


def _read(path: Path) -> bytes:
    """What is in a file that is not huge, no link, no pipe and no device: an earlier mutation may have put any of these there."""
    _require_plain(path)
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    if os.path.lexists(path):
        _require_plain(path)
    path.write_bytes(content)


def _require_plain(path: Path) -> None:
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MOST:
        raise ValueError(f"{path.name} is damaged too much already")


def _some(rng: Random, folder: Path, suffix: str = "") -> Path:
    return rng.choice(_files(folder, suffix))


def flip(rng: Random, folder: Path) -> str:
    path = _some(rng, folder)
    content = bytearray(_read(path))
    near = rng.choice((len(content), 100))  # anywhere, or in a binary file's header
    places = [rng.randrange(min(near, len(content))) for _ in range(rng.choice((1, 3, 20)))]
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    _write(path, content)
    return f"{len(places)} bits of {path.name} at {places[:3]}"


def splice(rng: Random, folder: Path) -> str:
    path = _some(rng, folder)
    content = _read(path)
    first = rng.randrange(len(content) + 1)
    last = min(len(content), first + rng.choice((0, 1, 7, 1000, len(content))))
    new = rng.choice(
        (b"", b"\0", b"\0" * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"}", b'"', b"\n", b"\r", b"\x1b[2J", b"\xed\xa0\x80")
    )
    new = content[first:last] * 2 if rng.random() < 0.1 else new
    _write(path, content[:first] + new + content[last:])
    return f"{path.name}: bytes {first} to {last} are now {odd.brief(new)}"


def empty(rng: Random, folder: Path) -> str:
    path = _some(rng, folder)
    _write(path, b"")
    return path.name


def exchange(rng: Random, folder: Path) -> str:
    one, other = _some(rng, folder), _some(rng, folder)
    first, second = _read(one), _read(other)
    _write(one, second)
    _write(other, first)
    return f"{one.name} and {other.name}"


def encode(rng: Random, folder: Path) -> str:
    path = _some(rng, folder, rng.choice((".json", ".jsonl")))
    how = rng.choice(("utf-8-sig", "utf-16", "utf-32", "utf-16-be", "cp500"))
    _write(path, _read(path).decode("utf-8", "replace").encode(how))
    return f"{path.name} in {how}"


def inflate(rng: Random, folder: Path) -> str:
    path, size = _some(rng, folder), rng.choice((3 << 20, 200 << 20, 1 << 30))
    os.truncate(path, size)  # a hole: it takes no room on disk
    return f"{path.name} of {size:,} bytes, zeros at its end"


# --- what is no regular file -------------------------------------------------------------------------------------------


def replace(rng: Random, folder: Path) -> str:
    path, inside = _place(rng, folder), ""
    if rng.random() < 0.2:
        inside = rng.choice(("epoch-9999.safetensors", "state-9999.pt", ".epoch-0001.safetensors.77.tmp", ".config.json.1.tmp",
                             "results/evaluate-99999999.json", "results/unfinished-evaluate-0.json", "results/.x.json.5.tmp",
                             "results/table1.json"))  # fmt: skip
        path = folder / inside
    was_folder, old = path.is_dir(), _read(path) if path.is_file() else b""
    _remove(path)
    path.parent.mkdir(exist_ok=True)
    how = rng.choice(("fifo", "folder", "full folder", "socket", "dangling", "loop", "outside", "outside", "outside", "/dev/zero",
                      "/dev/full", "/dev/null", "/dev/stdin", "parent", "unreadable", "gone"))  # fmt: skip
    outside = folder.parents[1] / "outside"
    if how == "fifo":
        os.mkfifo(path)
    elif how in ("folder", "full folder"):
        (path / "inside" if how == "full folder" else path).mkdir(parents=True)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = Path.cwd()
            os.chdir(path.parent)  # a socket's address must be short
            try:
                listener.bind(path.name)
            finally:
                os.chdir(here)
    elif how == "unreadable":
        _write(path, old)
        path.chmod(0)
    elif how != "gone":
        target = {"dangling": outside / "not-there", "loop": path, "parent": folder}.get(how, Path(how))
        if how == "outside":
            target = outside / ("folder" if was_folder else path.name)
            if not was_folder:
                _write(target, old + b'{"kind":"note","text":"whose is this?')  # torn: who appends here cuts it off
        path.symlink_to(target)
    return f"{path.relative_to(folder)} is {how}"


def _place(rng: Random, folder: Path) -> Path:
    weights = [p.name for p in _files(folder) if p.suffix in (".safetensors", ".pt", ".json")]
    name = rng.choice((rng.choice(PLACES), rng.choice(weights)))
    files = [p for p in _files(folder) if p.name == name]
    return files[0] if files else folder / name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inside in path.iterdir():
            _remove(inside)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


# --- names --------------------------------------------------------------------------------------------------------------


def rename(rng: Random, folder: Path) -> str:
    """Only noted down: who made the folder renames it once all else is done."""
    name = rng.choice(odd.NAMES)
    folder.with_name("name").write_bytes(name)
    return f"the folder is called {odd.brief(name)}"


def litter(rng: Random, folder: Path) -> str:
    source = rng.choice([p for p in _files(folder) if p.suffix in (".safetensors", ".pt", ".json")])
    made = [n.replace(b"/", b"") for n in odd.NAMES]
    stem = os.fsencode(source.stem.rsplit("-", 1)[0])
    digits = rng.choice((b"-9" + b"9" * 30, b"-0000", b"-0001-000001", b"-\xd9\xa0\xd9\xa0\xd9\xa0\xd9\xa1", b"-0x01", b"-1",
    b"-",
                         b"-" + rng.choice(made)[:60]))  # fmt: skip
    name = rng.choice((stem + digits + os.fsencode(source.suffix), rng.choice(made), b"." + stem + digits + b".tmp"))
    path = os.path.join(os.fsencode(source.parent), name)  # noqa: PTH118
    Path(os.fsdecode(path)).write_bytes(_read(source))
    return f"a copy of {source.name} as {odd.brief(name)}"


# --- JSON ---------------------------------------------------------------------------------------------------------------


def json_value(rng: Random, folder: Path) -> str:
    return _in_json(rng, rng.choice([p for p in _files(folder, ".json") if p.parent != folder] + _files(folder, ".json")))


def config(rng: Random, folder: Path) -> str:
    return _in_json(rng, folder / "config.json")


def config_plausible(rng: Random, folder: Path) -> str:
    """A config of the right form that is not this run's."""
    path = folder / "config.json"
    stored = json.loads(_read(path))
    name, new = rng.choice((
        ("members", 3), ("members", 64), ("members", 65), ("epochs", 1), ("epochs", 4), ("epochs", 10**6), ("batch_size", 1),
        ("batch_size", 10**9),
        ("model", "lenet"), ("model", "resnet20"), ("model", "patch"), ("model", "mlp"), ("data", "mnist"), ("data", "bars"),
        ("data", "moons"),
        ("data", "cifar10"), ("data", "fashion-mnist"), ("method", "standard"), ("method", "adp"), ("method", "dverge"),
        ("method", "gal"),
        ("method", "adaboost"), ("method", "gradient-boost"), ("method", "ckae"), ("lr", 1e300), ("lr", 1e-300), ("seed", 7),
        ("seed", 2**63),
        ("limit", 1), ("limit", 10**12), ("optimizer", "sgd"), ("device", "cuda"), ("device", "cpu:5"), ("precision", "bfloat16"),
        ("start_from", "../good"), ("start_from", "."), ("data_dir", "/nonexistent"), ("data_dir", "../../outside"),
        ("log_every", 10**9),
        ("save_every", 10**9), ("probe_every", 1), ("augment", True), ("adversarial", True), ("format", 2), ("format", 1.0),
        ("format", True),
    ))  # fmt: skip
    stored[name] = new
    if name == "method":
        stored["options"] = {}
    path.write_text(json.dumps(stored))
    return f"{name} is {new!r}"


def status(rng: Random, folder: Path) -> str:
    path = folder / "status.json"
    stored = json.loads(_read(path))
    chosen = {"state": ('"running"', '"paused"', odd.value(rng)), "pid": ("1", str(os.getpid()), odd.value(rng)),
              "heartbeat": ("1e12", odd.value(rng), odd.value(rng)), "error": (odd.value(rng),),
              "step": (odd.value(rng),)}  # fmt: skip
    raw = {key: rng.choice(values) for key, values in chosen.items() if rng.random() < 0.6}
    for key in raw:
        stored[key] = f"@{key}@"
    text = json.dumps(stored)
    for key, new in raw.items():
        text = text.replace(f'"@{key}@"', new)
    path.write_text(text)
    if rng.random() < 0.3:
        _remove(folder / "trainer.lock")
        (folder / "trainer.lock").symlink_to(folder.parents[1] / "outside" / "canary.jsonl")
    return ", ".join(f"{key} {odd.brief(new)}" for key, new in raw.items())


def _in_json(rng: Random, path: Path) -> str:
    text, what = _changed(rng, json.loads(_read(path)))
    path.write_text(text)
    return f"{path.name}: {what}"


def _changed(rng: Random, tree: object, compact: bool = False) -> tuple[str, str]:
    """A JSON text with one value replaced, removed, moved or doubled."""
    separators = (",", ":") if compact else None
    places = odd.places(tree)
    inside, key = rng.choice([p for p in places if rng.random() < 0.3] or places)
    how = rng.choice(("value", "value", "value", "value", "remove", "twice", "key", "whole"))
    if how == "whole":
        raw = odd.value(rng)
        return raw, f"all is {odd.brief(raw)}"
    if how == "remove":
        del inside[key]
        return json.dumps(tree, separators=separators), f"{key!r} is gone"
    if how == "key" and isinstance(inside, dict):
        new = rng.choice(("", odd.ESCAPES, odd.MARKUP, "\ud800", "x" * 5000, "=1+1", "__proto__", "[bold]"))
        inside[new] = inside.pop(key)
        return json.dumps(tree, separators=separators), f"{key!r} is called {odd.brief(new)}"
    raw = odd.value(rng)
    if how == "twice" and isinstance(inside, dict):
        inside["@twice@"] = inside[key]
        return json.dumps(tree, separators=separators).replace('"@twice@"', json.dumps(key)), f"{key!r} stands twice"
    inside[key] = "@value@"
    return json.dumps(tree, separators=separators).replace('"@value@"', raw), f"{key!r} is {odd.brief(raw)}"


# --- events -------------------------------------------------------------------------------------------------------------


def _lines(folder: Path) -> list[bytes]:
    return _read(folder / "events.jsonl").splitlines(keepends=True)


def _write_lines(folder: Path, lines: list[bytes]) -> None:
    _write(folder / "events.jsonl", b"".join(lines))


def event_value(rng: Random, folder: Path) -> str:
    lines = _lines(folder)
    by_kind: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        by_kind.setdefault(json.loads(line)["kind"], []).append(place)
    kind = rng.choice(sorted(by_kind))
    place = rng.choice((rng.choice(by_kind[kind]), by_kind[kind][-1]))
    text, what = _changed(rng, json.loads(lines[place]), compact=True)
    lines[place] = text.encode("utf-8", "surrogatepass") + b"\n"
    _write_lines(folder, lines)
    return f"line {place} ({kind}): {what}"


def event_all(rng: Random, folder: Path) -> str:
    """One field of every event is odd."""
    lines = [json.loads(line) for line in _lines(folder)]
    name, raws = rng.choice((
        ("t", ("-1e18", "1e300", "0", "9" * 400, "null")), ("step", ("100000000000000000", "-5", "1e999", "9" * 400, "0.5",
        '"7"')),
        ("terms", ('{"total":1.7e308}', '{"total":-1.7e308}', '{"total":"x"}', "[]", '{"\\ud800":1}', '{"":1}',
        '{"[/]":1,"total":NaN}')),
        ("cosine", ("[[]]", "[[1,1e999],[1,1]]", '[["a"]]', "[[[1]]]", "{}")), ("epoch", ("1e999", "9" * 400, '"x"')),
        ("n", ("1e999", "0", "-3", "9" * 400)), ("fooled", ("[[1e999,1],[2,3]]", "[[null]]", "{}")), ("kind", ('"x"', '"step"',
        '"start"')),
        ("name", ('"../../outside/canary"', "7", '"0001"')), ("sha256", ("null", '"x"', "5")), ("options", ("{}", '{"a":1e999}',
        "[]")),
    ))  # fmt: skip
    raw = rng.sample(raws, min(2, len(raws)))
    out = []
    for event in lines:
        if name in event:
            event[name] = "@value@"
        out.append(json.dumps(event).replace('"@value@"', rng.choice(raw)).encode() + b"\n")
    _write_lines(folder, out)
    return f"{name} of all is {odd.brief(raw)}"


def event_order(rng: Random, folder: Path) -> str:
    lines = _lines(folder)
    first = rng.randrange(len(lines))
    how = rng.choice(("shuffled", "reversed", "doubled", "cut", "torn", "of another run", "a day back", "many"))
    if how == "shuffled":
        rng.shuffle(lines)
    elif how == "reversed":
        lines.reverse()
    elif how == "doubled":
        lines += lines[first:]
    elif how == "cut":
        del lines[first : first + rng.choice((1, 5, len(lines)))]
    elif how == "torn":
        lines = [*lines[:first], lines[first][: rng.randrange(1, len(lines[first]))]]
    elif how == "of another run":
        other = _read(folder.parent / "good" / "events.jsonl").splitlines(keepends=True)
        lines[first:first] = other[rng.randrange(len(other)) :]
    elif how == "a day back":
        lines = [line.replace(b'"t":17', b'"t":16') if place > first else line for place, line in enumerate(lines)]
    else:
        lines *= 200
    _write_lines(folder, lines)
    return f"{how}, from line {first}"


def event_line(rng: Random, folder: Path) -> str:
    lines, name = _lines(folder), rng.choice(("note", "step", "matrix", "stopped"))
    size = rng.choice((3_000_000, 8_000_000))
    made = {
        "a line of megabytes": b'{"kind":"%s","text":"%s"}\n' % (name.encode(), b"w" * size),
        "megabytes without an end": b'{"kind":"note","text":"' + b"w" * size,
        "deep": b'{"kind":"%s","step":' % name.encode() + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
        "zeros": b"\0" * 4096 + b"\n",
        "a mark": b"\xef\xbb\xbf" + lines[0],
        "no text": b"\xff\xfe\n",
        "empty lines": b"\n" * 5000,
        "carriage returns": b"".join(line.replace(b"\n", b"\r\n") for line in lines[:4]),
        "two on a line": lines[0][:-1] + lines[-1],
        "a surrogate": b'{"kind":"%s","step":9,"text":"\\ud800","state":"\\udc9b31m"}\n' % name.encode(),
        "escape codes": json.dumps(
            {"kind": name, "step": 3, "text": odd.ESCAPES, "error": odd.ESCAPES, "state": odd.ESCAPES}
        ).encode()
        + b"\n",
        "an unknown kind": json.dumps({"kind": odd.ESCAPES + odd.MARKUP, "step": 3}).encode() + b"\n",
    }
    what = rng.choice(sorted(made))
    place = rng.randrange(len(lines) + 1)
    lines.insert(place, made[what])
    _write_lines(folder, lines)
    return f"{what} as line {place}"


def control(rng: Random, folder: Path) -> str:
    requests = [json.dumps({"v": 1, "kind": "control", "t": 1, "action": action,
    "name": "lambda_a"})[:-1] + ',"value":' + odd.value(rng) + "}"
                for action in ("set", "note", "save", "stop", odd.ESCAPES)]  # fmt: skip
    _write(folder / "control.jsonl", "\n".join(requests).encode())
    return "odd requests"


def log(rng: Random, folder: Path) -> str:
    _write(folder / "train.log", rng.choice((odd.ESCAPES.encode() * 50, b"\xff" * 3000, b"[/bold]\n" * 9)))
    if rng.random() < 0.5:
        _write(folder / "events.jsonl", b"")  # then the dashboard shows the log's end
    return "odd bytes"


# --- weights and states -------------------------------------------------------------------------------------------------


def _newest(folder: Path, pattern: str) -> Path:
    files = [p for p in folder.glob(pattern) if p.is_file() and not p.is_symlink()]
    return max(files, key=lambda path: path.stem)  # 0004-000001 is newer than 0004


def _sealed(rng: Random, folder: Path, path: Path, content: bytes) -> str:
    """Write a file; mostly the log names its new SHA-256, as a hostile one would."""
    _write(path, content)
    if rng.random() < 0.15:
        return " (the log names another SHA-256)"
    field = "state_sha256" if path.suffix == ".pt" else "sha256"
    name = path.stem.split("-", 1)[1]
    digest = sha256(content).hexdigest()
    for place, line in enumerate(lines := _lines(folder)):
        event = json.loads(line)
        if event["kind"] == "checkpoint" and event.get("name") == name:
            lines[place] = json.dumps(event | {field: digest}).encode() + b"\n"
    _write_lines(folder, lines)
    if path.suffix != ".pt" and (state := folder / f"state-{name}.pt").is_file():
        stored = torch.load(state, weights_only=True)
        _sealed(rng, folder, state, _packed(stored | {"weights": digest}))
    return ""


def _packed(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def weights(rng: Random, folder: Path) -> str:
    path = _newest(folder, "epoch-*.safetensors")
    content = _read(path)
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    names = sorted(header)
    one, other = rng.choice(names), rng.choice(names)
    how = rng.choice(("length", "json", "offsets", "overlap", "dtype", "shape", "name", "gone", "more", "data", "nan", "spaces"))
    raw = ""
    if how == "offsets":
        header[one]["data_offsets"] = rng.choice(
            ([0, 0], [-4, 0], [0, 2**63], [len(data), 0], [2**64 - 4, 2**64 - 1], [0, len(data) + 4])
        )
    elif how == "overlap":
        header[one]["data_offsets"] = header[other]["data_offsets"]
    elif how == "dtype":
        header[one]["dtype"] = rng.choice(("F16", "F64", "I32", "BOOL", "BF16", "F8_E5M2", "X", ""))
    elif how == "shape":
        header[one]["shape"] = rng.choice(
            ([], [2**31, 2**31], [0], [1] * 100, [-1], [2**63], header[one]["shape"][::-1], [1, *header[one]["shape"]])
        )
    elif how == "name":
        header[rng.choice((odd.ESCAPES, "x" * 10_000, "\ud800", "", "__metadata__"))] = header.pop(one)
    elif how == "gone":
        del header[one]
    elif how == "more":
        header["more"] = header[one]
    elif how == "data":
        data = rng.choice((b"", data[:-4], data + b"\0" * 1000, b"\0" * len(data)))
    elif how == "nan":
        place = 4 * rng.randrange(len(data) // 4)
        data = data[:place] + struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, -3e38))) + data[place + 4 :]
    elif how == "json":
        raw, what = _changed(rng, header)
        how += f" ({what})"
    packed = (raw or json.dumps(header)).encode("utf-8", "surrogatepass")
    packed += b" " * (5_000_000 if how == "spaces" else -len(packed) % 8)
    length = rng.choice((0, 1, 2**63, 2**64 - 1, 10**8, len(packed) + 8, len(content))) if how == "length" else len(packed)
    sealed = _sealed(rng, folder, path, struct.pack("<Q", length) + packed + data)
    return f"{path.name}: {how} of {one}{sealed}"


def state(rng: Random, folder: Path) -> str:
    path = _newest(folder, "state-*.pt")
    stored = torch.load(path, weights_only=True)
    places = [place for place in odd.places(stored) if place[1] != "weights"]
    wanted = rng.choice((dict, torch.Tensor, torch.Tensor, object, object))
    inside, key = rng.choice([p for p in places if isinstance(p[0][p[1]], wanted)])
    old, how = inside[key], rng.choice(("value", "value", "value", "gone", "more", "all"))
    if how == "gone":
        del inside[key]
    elif how == "more":
        key = rng.choice(("more", 7, -1, "foreach", (1, 2)))
        inside[key] = odd.objects(rng)
    elif how == "all" and isinstance(old, torch.Tensor):  # of every parameter alike
        for other, name in odd.places(stored):
            if name == key and isinstance(other[name], torch.Tensor):
                other[name] = odd.tensors(rng, other[name])
    else:
        inside[key] = odd.tensors(rng, old) if isinstance(old, torch.Tensor) and rng.random() < 0.8 else odd.objects(rng)
    new = inside.get(key) if isinstance(inside, dict) else None
    description = f"{tuple(new.shape)} {new.dtype}" if isinstance(new, torch.Tensor) else odd.brief(new)
    return f"{path.name}: {how}: {key!r} is {description}{_sealed(rng, folder, path, _packed(stored))}"


def state_progress(rng: Random, folder: Path) -> str:
    path = _newest(folder, "state-*.pt")
    stored = torch.load(path, weights_only=True)
    name = rng.choice(("epoch", "step", "step_in_epoch", "parts", "device", "bfloat16", "options", "optimizer"))
    stored[name] = odd.objects(rng)
    return f"{path.name}: {name} is {odd.brief(stored[name])}{_sealed(rng, folder, path, _packed(stored))}"


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def pickle_payload(rng: Random, folder: Path) -> str:
    import pickle

    path, ran = _newest(folder, "state-*.pt"), _Payload(folder.parents[1] / "outside" / "RAN")
    stored = torch.load(path, weights_only=True)
    how = rng.choice(("in the state", "alone", "a plain pickle", "the old format"))
    if how == "a plain pickle":
        content = pickle.dumps(ran)
    elif how == "the old format":
        torch.save(stored | {"x": ran}, buffer := io.BytesIO(), _use_new_zipfile_serialization=False)
        content = buffer.getvalue()
    else:
        content = _packed(ran if how == "alone" else stored | {rng.choice(("optimizer", "x", "epoch")): ran})
    name = rng.choice((path.name, path.name, path.name, "epoch"))
    target = path if name == path.name else _newest(folder, "epoch-*.safetensors")
    if target != path:
        _write(target, content)
        return f"code in {target.name}"
    return f"code in {target.name}, {how}{_sealed(rng, folder, target, content)}"


def zip_file(rng: Random, folder: Path) -> str:
    """The state's archive packed anew: deflated, with a member that is huge, doubled, gone, or has another name."""
    path = _newest(folder, "state-*.pt")
    how = rng.choice(("deflated", "bomb", "gone", "doubled", "renamed", "shorter", "comment"))
    if how == "bomb":
        bomb = _read(folder.parents[1] / "bomb.pt")
        return f"{path.name} unpacks to 400 MB{_sealed(rng, folder, path, bomb)}"
    old, buffer = zipfile.ZipFile(path), io.BytesIO()
    chosen = rng.choice(old.namelist())
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if how == "deflated" else zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == chosen and how == "gone":
                continue
            if name == chosen and how == "shorter":
                content = content[: len(content) // 2]
            new.writestr("../../outside/RAN" if name == chosen and how == "renamed" else name, content)
            if name == chosen and how == "doubled":
                new.writestr(name, content[::-1])
        new.comment = b"\x1b[2J" * 1000 if how == "comment" else b""
    return f"{path.name}: {how}: {chosen}{_sealed(rng, folder, path, buffer.getvalue())}"


MUTATIONS: dict[Mutation, int] = {
    flip: 5, splice: 6, empty: 2, exchange: 2, encode: 3, inflate: 2, replace: 14, rename: 5, litter: 4, json_value: 8, config: 6,
    config_plausible: 6, status: 5, event_value: 9, event_all: 5, event_order: 4, event_line: 5, control: 1, log: 1, weights: 8,
    state: 9,
    state_progress: 4, pickle_payload: 3, zip_file: 3,
}  # fmt: skip
