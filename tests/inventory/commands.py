"""Runs Ansible's own command lines, many in one process: each in a fork, so that the imports are paid for once.

Input: a JSON list of {"cwd", "argv"}. Output: a JSON list of {"rc", "out", "err"}. The program `select` is no
command of Ansible's: `select QUESTIONS SOURCE ...` answers many patterns of one inventory, as `--list-hosts` would.
"""
import importlib
import json
import os
import sys
import tempfile

sys.path = [path for path in sys.path if path]  # not the current directory
home = tempfile.TemporaryDirectory(prefix='rmqplay-test-ansible-')
config = os.path.join(home.name, 'ansible.cfg')
open(config, 'w').close()
os.environ.update(ANSIBLE_CONFIG=config, ANSIBLE_HOME=home.name, ANSIBLE_NOCOLOR='1', ANSIBLE_LOCALHOST_WARNING='0', LC_ALL='C.UTF-8')
modules = {'ansible': 'adhoc', 'ansible-inventory': 'inventory', 'ansible-playbook': 'playbook'}
modules = {name: importlib.import_module('ansible.cli.' + module) for name, module in modules.items()}


def select(questions, *sources):
    """For each of [[pattern, limit], ...]: the hosts, or None if Ansible fails, and what it says."""
    from ansible.cli import CLI
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.utils.display import Display

    said = []
    Display.warning = lambda self, msg, **_: said.append(msg)
    answers = []
    for pattern, limit in json.loads(questions):
        inventory = InventoryManager(DataLoader(), list(sources))
        said.clear()
        try:
            hosts = [str(host) for host in CLI.get_host_list(inventory, limit, pattern)]
        except AnsibleError as e:
            said.append(str(e))
            hosts = None
        answers.append({'hosts': hosts, 'said': list(said)})
    print(json.dumps(answers))


def run(cwd, argv):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.chdir(cwd)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = 0
            try:
                if argv[0] == 'select':
                    select(*argv[1:])
                else:
                    modules[argv[0]].main(argv)
            except SystemExit as e:
                code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
            except BaseException as e:
                os.write(2, repr(e).encode())
                code = 250
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return {'rc': os.waitstatus_to_exitcode(status), 'out': out.read().decode(), 'err': err.read().decode()}


print(json.dumps([run(**job) for job in json.load(sys.stdin)]))
