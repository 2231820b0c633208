# Edits texts with the functions of Ansible's own module: JSON cases on standard input, JSON results on standard output.
# Text is Latin-1 of the bytes, so that any byte can be in it.
import json
import os
import sys
import tempfile

from ansible.modules import lineinfile


class Done(Exception):
    pass


class Module:
    check_mode = False
    _diff = False

    def __init__(self, directory):
        self.tmpdir = directory
        self.params = {"unsafe_writes": False}

    def exit_json(self, **result):
        raise Done(result)

    def fail_json(self, **result):
        raise Done(dict(result, failed=True))

    def load_file_common_arguments(self, params):
        return {}

    def set_fs_attributes_if_different(self, arguments, changed, diff=None):
        return changed

    def atomic_move(self, source, target, unsafe_writes=False):
        os.rename(source, target)


def run(case, directory):
    path = os.path.join(directory, "file")
    with open(path, "wb") as file:
        file.write(case["text"].encode("latin-1"))
    get = case["args"].get
    module = Module(directory)
    after, before = get("insertafter"), get("insertbefore")
    if after is None and before is None:
        after = "EOF"
    try:
        if get("state") == "absent":
            lineinfile.absent(module, path, get("regexp"), get("search_string"), get("line"), False)
        else:
            lineinfile.present(module, path, get("regexp"), get("search_string"), get("line"), after, before,
                               False, False, get("backrefs", False), get("firstmatch", False))
    except Done as done:
        result = done.args[0]
    except Exception as error:
        return {"failed": True, "msg": repr(error)}
    with open(path, "rb") as file:
        text = file.read().decode("latin-1")
    return {"failed": result.get("failed", False), "changed": result.get("changed"), "msg": result.get("msg"),
            "found": result.get("found"), "text": text}


with tempfile.TemporaryDirectory() as directory:
    json.dump([run(case, directory) for case in json.load(sys.stdin)], sys.stdout)
