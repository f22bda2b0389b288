"""What the tests' mail server is configured with: its own files, and those that users are given."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
DOMAIN = "example.test"
GROUP = "mail"  # in the place of winnow's
TOKEN = "hush"
DOVECOT = "2.3"  # whose configuration this is
RUN_SECONDS = 120.0

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.{domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = {domain}
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
default_transport = error:there is no outside
alias_maps =
alias_database =
maillog_file = {folder}/spool/maillog
maillog_file_prefixes = {folder}
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
minimal_backoff_time = 5s
queue_run_delay = 5s
"""
MASTER_CF = """
127.0.0.1:{filtered} inet n - y - - smtpd
127.0.0.1:{unfiltered} inet n - n - - smtpd -o smtpd_milters=
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
DOVECOT_CONF = """
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = lmtp imap
listen = 127.0.0.1
ssl = no
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/home-%u allow_all_users=yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
namespace inbox {{
  inbox = yes
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
  mailbox Archive {{
    auto = create
  }}
}}
"""


def skip_without(programs: Sequence[str]) -> None:
    """Skips the test where a mail server of these programs cannot be started, or not like this."""
    missing = [program for program in programs if not Path(program).exists()]
    if missing:
        pytest.skip(f"no mail server here (apt-packages.txt): {', '.join(missing)} is missing")
    if os.getuid() != 0:
        pytest.skip("a mail server must be started by root")
    version = subprocess.check_output(["/usr/sbin/dovecot", "--version"], text=True)
    if not version.startswith(DOVECOT):
        pytest.skip(f"the tests configure Dovecot {DOVECOT}; here is {version.split()[0]}")


def winnow_s_milter() -> str:
    """The milter of deploy/, as Postfix is told of it."""
    return (DEPLOY / "postfix" / "main.cf").read_text().split("smtpd_milters = ")[1].strip()


def write_postfix(folder: Path, ports: Mapping[str, int], milters: Mapping[str, str]) -> None:
    """Postfix's files: mail to the port of a milter's name goes through it."""
    for name in ("postfix", "spool", "data", "spool/winnow"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "spool" / "winnow", group="postfix")
    (folder / "spool" / "winnow").chmod(0o2750)  # as the systemd unit does it
    given = {"folder": folder, "domain": DOMAIN, **ports}
    ours = (DEPLOY / "postfix" / "main.cf").read_text()
    (folder / "postfix" / "main.cf").write_text(MAIN_CF.format(**given) + ours)
    services = "".join(
        f"127.0.0.1:{ports[name]} inet n - n - - smtpd -o {{ smtpd_milters = {milter} }}\n"
        for name, milter in milters.items()
    )
    (folder / "postfix" / "master.cf").write_text(MASTER_CF.format(**given) + services)


def write_dovecot(folder: Path, ports: Mapping[str, int], sieve: Path) -> None:
    """Dovecot's files; `sieve` files spam, and corrections go to a filter at the port `http`."""
    for name in ("run", "mail", "sieve"):
        (folder / name).mkdir()
    shutil.chown(folder / "mail", "nobody", "nogroup")
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o640)
    shutil.chown(folder / "token", group=GROUP)
    replaced = {
        "/etc/dovecot/sieve": str(folder / "sieve"),
        "/etc/winnow/token": str(folder / "token"),
        "groups = winnow": f"groups = {GROUP}",
        "127.0.0.1:9109": f"127.0.0.1:{ports['http']}",
    }
    conf = DOVECOT_CONF.format(folder=folder, **ports)
    files = sorted((DEPLOY / "dovecot").glob("winnow*"))
    files += sorted((DEPLOY / "dovecot" / DOVECOT).glob("winnow*"))
    for file in (*files, sieve):
        text = file.read_text()
        for line, ours in replaced.items():
            text = text.replace(line, ours)
        if file.suffix == ".conf":
            conf += text
        else:
            (folder / "sieve" / file.name).write_text(text)
            (folder / "sieve" / file.name).chmod(file.stat().st_mode)
    (folder / "dovecot.conf").write_text(conf)
    for script in (folder / "sieve").glob("*.sieve"):
        run("sievec", "-c", folder / "dovecot.conf", script)


def run(*command: str | Path) -> None:
    """Run a program to its end; raises unless it succeeds."""
    with tempfile.TemporaryFile("w+") as said:  # a pipe would stay open in what is started
        done = subprocess.run(command, stdout=said, stderr=said, timeout=RUN_SECONDS)
        said.seek(0)
        assert done.returncode == 0, f"{command}: {said.read()}"
