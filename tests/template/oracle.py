"""What real Ansible makes of the cases: one JSON list per file given, each entry {"ok": value} or {"error": text}."""
import json
import logging
import os
import sys
import warnings

os.environ.setdefault("ANSIBLE_DEPRECATION_WARNINGS", "0")
os.environ["ANSIBLE_LOCALHOST_WARNING"] = "0"
os.environ["TZ"] = "UTC"
warnings.simplefilter("ignore")

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible._internal._templating._jinja_bits import TemplateOverrides
from ansible._internal._templating._utils import Omit
from ansible.module_utils.common.text.converters import to_bytes
from ansible.utils.display import Display

Display().warning = lambda *a, **k: None
Display().deprecated = lambda *a, **k: None
Display().error_as_warning = lambda *a, **k: None

init_plugin_loader([])
loader = DataLoader()


def plain(value):
    """Plain data, keys as JSON writes them."""
    return json.loads(json.dumps(value, default=lambda o: {"__type__": type(o).__name__}))


def run(case, variables, directory):
    if "value" in case:
        engine = TemplateEngine(loader, variables)
        marker = object()
        result = engine.template(case["value"], options=TemplateOptions(value_for_omit=marker))
        return {"ok": "<omitted>"} if result is marker else {"ok": plain(result)}
    if "when" in case:
        return {"ok": TemplateEngine(loader, variables).evaluate_conditional(case["when"])}
    if "expression" in case:
        return {"ok": plain(TemplateEngine(loader, variables).evaluate_expression(case["expression"]))}
    templar = Templar(loader=loader, variables=variables).copy_with_new_env(
        searchpath=[os.path.join(directory, "templates"), directory], available_variables=variables
    )
    result = templar.template(case["file"], escape_backslashes=False, overrides=case.get("options"))
    return {"ok": to_bytes("" if result is None else result, nonstring="simplerepr").decode()}


out = {}
for path in sys.argv[1:]:
    loader.set_basedir(os.path.dirname(path))
    document = loader.load_from_file(path, trusted_as_template=True)
    directory = os.path.dirname(os.path.abspath(path))
    results = []
    for case in document["cases"]:
        if isinstance(case, str):
            case = {"value": case}
        variables = dict(document.get("vars") or {}) | dict(case.get("vars") or {})
        variables["playbook_dir"] = directory
        variables["ansible_search_path"] = [directory]
        try:
            results.append(run(case, variables, directory))
        except BaseException as ex:
            results.append({"error": f"{type(ex).__name__}: {ex}"})
    out[os.path.basename(path)] = results
json.dump(out, sys.stdout)
