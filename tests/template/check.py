"""Translates CloudFormation templates from AWS SAM as the service does, and lints what comes out.

Usage: check.py translate|lint < [TEMPLATE, ...] > [{"translated": TEMPLATE or null, "findings": [TEXT, ...]}, ...], all JSON.

Linters overlook much in a template of SAM, so they see the translation, too. They take some seconds for each.
"""

import json
import os
import sys

from cfnlint.api import lint
from cfnlint.config import ManualArgs
from samtranslator.translator.transform import transform

# The rules depend on the region; the first has all services, the second is where many will run it.
REGIONS = ["us-east-1", "eu-central-1"]
os.environ["AWS_DEFAULT_REGION"] = REGIONS[0]


class NoManagedPolicies:
    """No role of the template has a policy of AWS's: they allow more than is needed."""

    def load(self):
        return {}


def translated(template):
    """What CloudFormation makes of it; the code of functions has been uploaded."""
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://artefacts/code.zip"
    defaults = {name: of["Default"] for name, of in template["Parameters"].items() if "Default" in of}
    return transform(template, defaults, NoManagedPolicies())


def check(template):
    written = json.dumps(template)
    try:
        template = translated(template)
    except Exception as error:  # noqa: BLE001: whatever it is, the template is at fault
        return {"translated": None, "findings": [f"translate: {error!r} {getattr(error, 'causes', '')}"]}
    if sys.argv[1:] == ["translate"]:
        return {"translated": template, "findings": []}
    config = ManualArgs(regions=REGIONS, include_checks=["I", "W", "E"])
    found = lint(written, config=config) + lint(json.dumps(template), config=config)
    findings = [f"{it.rule.id} {'/'.join(map(str, it.path))}: {it.message}" for it in found]
    return {"translated": template, "findings": findings}


json.dump([check(template) for template in json.load(sys.stdin)], sys.stdout)
