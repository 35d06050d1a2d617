"""The command lines of ssh, rsync and sftp: what a user or a robot says becomes no option and no command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wall_edge.cli.bundle.deploy import _words
from wall_edge.deploy import ssh as module
from wall_edge.deploy import transfer as transfers
from wall_edge.deploy.deployment import from_home
from wall_edge.deploy.ssh import Ssh, last_line, require_destination, ssh_failure
from wall_edge.deploy.transfer import Job, choose
from wall_edge.errors import ConfigError

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh here")


@pytest.mark.parametrize(
    "text", ["robot@orin", "orin", "orin.local", "a.b-c@192.168.1.7", "u@fe80::1%eth0", "::1"]
)
def test_destinations(text: str) -> None:
    assert require_destination(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=x", "u@-h", "-u@h", "u@h x", "u@h;x", "u@h\n", "a@b@c", "u@", "@h", "$(x)", "h:/x"],
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(ConfigError, match="expected USER@HOST"):
        require_destination(text)


@needs_ssh
@pytest.mark.parametrize("option", ["", "-F/x", "Port", "A=b\nProxyCommand x", "=x"])
def test_what_is_no_option(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ssh-option"):
        Ssh("robot", [option], None, tmp_path)


@needs_ssh
def test_an_option_that_ssh_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ssh does not take that: .*[Nn]osuchoption"):
        Ssh("robot", ["NoSuchOption=1"], None, tmp_path)


@needs_ssh
def test_the_users_own_options_come_first_and_nothing_ever_asks(tmp_path: Path) -> None:
    ssh = Ssh("robot", ["ConnectTimeout=3"], 2222, tmp_path)
    words = ssh.command(["wall-edge", "a b", "$(x)"])
    assert words[:5] == ["ssh", "-o", "ConnectTimeout=3", "-o", "Port=2222"]
    assert "BatchMode=yes" in words
    assert words[-3:] == ["--", "robot", "wall-edge 'a b' '$(x)'"]
    assert f"ControlPath={tmp_path}/ssh" in ssh.options


@needs_ssh
@pytest.mark.parametrize("name", ["my tmp", "100%h", "a'b"])
def test_a_folder_for_the_socket_that_ssh_would_read_otherwise(name: str, tmp_path: Path) -> None:
    """A blank in $TMPDIR was 'extra arguments at end of line': each connection is its own then."""
    assert not any("ControlPath" in word for word in Ssh("robot", [], None, tmp_path / name).options)


@needs_ssh
def test_a_connection_that_the_user_shares_is_used(tmp_path: Path) -> None:
    ssh = Ssh("robot", ["ControlPath=/home/user/.ssh/%C"], None, tmp_path)
    assert not [word for word in ssh.options if str(tmp_path) in word]


@needs_ssh
def test_a_path_too_long_for_a_socket_is_done_without(tmp_path: Path) -> None:
    assert not [word for word in Ssh("robot", [], None, tmp_path / ("x" * 90)).options if "Control" in word]


def test_no_ssh_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="ssh is not installed; apt install openssh-client"):
        Ssh("robot", [], None, tmp_path)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Host key verification failed.", "its host key is unknown here"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "another than before",
        ),
        ("u@h: Permission denied (publickey,password).", "would ask for a password"),
        ("ssh: Could not resolve hostname h: Name or service not known", "no such host"),
        ("ssh: connect to host h port 22: Connection refused", "no ssh server listens there"),
        ("ssh: connect to host h port 22: Connection timed out", "does not answer"),
        (
            "client_loop: send disconnect: Broken pipe",
            "broke off (client_loop: send disconnect: Broken pipe)",
        ),
        ("", "ssh said nothing"),
    ],
)
def test_ssh_s_words(said: str, expected: str) -> None:
    assert expected in str(ssh_failure("u@h", said.encode()))


def test_the_last_line_that_says_something() -> None:
    assert last_line(b"a\n b \n\n") == "b"
    assert last_line(b"\xff\n") == "\ufffd"
    assert last_line(b"") == ""


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync here")
def test_rsync_takes_our_ssh_apart_as_it_was_meant(tmp_path: Path) -> None:
    """A program in place of ssh writes down the words that it got."""
    words = ["plain", "a b", "it's", '"quoted"', "back\\slash", "'"]
    note = tmp_path / "note"
    program = f"import sys, json; open({str(note)!r}, 'w').write(json.dumps(sys.argv[1:]))"
    shell = " ".join(transfers._rsync_quoted(word) for word in (sys.executable, "-c", program, *words))
    command = ["rsync", "-e", shell, str(tmp_path / "x"), "host:y"]
    subprocess.run(command, capture_output=True, check=False)
    assert json.loads(note.read_text())[: len(words)] == words


def test_sftp_goes_on_with_what_is_there_and_puts_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Ssh, "_has_control_path", lambda _: False)
    job = Job(tmp_path, 'a "place"\\', {"half": 5, "none": 0}, 100)
    command = transfers._sftp(Ssh("u@::1", [], None, tmp_path), job, tmp_path)
    assert (tmp_path / "batch").read_text().splitlines() == [
        'cd "a \\"place\\"\\\\"',
        'reput "half"',
        'put "none"',
    ]
    assert command[-1] == "u@[::1]"
    assert command[command.index("-l") + 1] == "800"


def test_rsync_where_both_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "rsync_version", lambda: "3.2.7")
    assert [choose(kind, there) for kind in ("auto", "sftp") for there in ("3.2.3", "")] == [
        "rsync",
        "sftp",
        "sftp",
        "sftp",
    ]
    with pytest.raises(ConfigError, match="no rsync there; expected rsync 3 or later"):
        choose("rsync", "")
    monkeypatch.setattr(transfers, "rsync_version", lambda: "")
    with pytest.raises(ConfigError, match="no rsync here and there"):
        choose("rsync", "")
    with pytest.raises(ConfigError, match="expected auto or rsync or sftp"):
        choose("scp", "")


@pytest.mark.parametrize(
    ("path", "plain"), [("x", "x"), ("~/x", "x"), ("/opt/x/", "/opt/x"), ("a b", "a b"), ("x$(y)", "x$(y)")]
)
def test_a_place_from_home(path: str, plain: str) -> None:
    assert from_home(path) == plain


@pytest.mark.parametrize("path", ["", "-x", "~", "~user/x", ".", "/", "x\ny", "x" * 2000])
def test_what_is_no_place(path: str) -> None:
    with pytest.raises(ConfigError, match="--at"):
        from_home(path)


def test_the_command_there() -> None:
    assert _words("wall-edge") == ["wall-edge"]
    assert _words("~/venv/bin/wall-edge") == ["./venv/bin/wall-edge"]
    assert _words("python3 -m 'wall edge'") == ["python3", "-m", "wall edge"]
    for bad in ("", "'", "  "):
        with pytest.raises(ConfigError, match="--command"):
            _words(bad)
