# Runs Ansible's own `deb822_repository` on a directory of its own: JSON arguments on standard input, for each the result
# and the file it wrote on standard output.
import contextlib
import io
import json
import os
import sys
import tempfile

from ansible.module_utils import basic
from ansible.modules import deb822_repository as module


def run(arguments, directory):
    sources = os.path.join(directory, "file.sources")
    module.KEYRINGS_DIR = os.path.join(directory, "keyrings")
    os.makedirs(module.KEYRINGS_DIR)
    module.ensure_keyrings_dir = lambda module: False
    slugs = []
    module.make_sources_filename = lambda slug: slugs.append(slug) or sources
    basic._PARSED_MODULE_ARGS = None
    basic._ANSIBLE_PROFILE = "legacy"
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main()
    result = json.loads(said.getvalue())
    if result.get("failed"):
        return {"failed": True, "msg": result["msg"]}

    def moved(text):
        return text and text.replace(module.KEYRINGS_DIR, "/etc/apt/keyrings")

    text = None
    if os.path.exists(sources):
        with open(sources, encoding="utf-8", newline="") as file:
            text = moved(file.read())
    return {"slug": slugs[0], "text": text, "repo": moved(result["repo"]), "key": moved(result["key_filename"])}


if not module.HAS_DEBIAN:
    sys.exit("python-debian is missing beside ansible-core: tests/setup.sh installs it")
results = []
for arguments in json.load(sys.stdin):
    with tempfile.TemporaryDirectory() as directory:
        results.append(run(arguments, directory))
json.dump(results, sys.stdout)
