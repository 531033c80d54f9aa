# SPDX-License-Identifier: Apache-2.0
"""A lineage as CycloneDX ML-BOM, W3C PROV and SPDX: what auditors and their tools read.

Each is a pure function of the lineage and of where the revision lies: the same lineage gives the
same bytes. CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), PROV-JSON
(https://www.w3.org/submissions/prov-json/) and SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from plait.errors import BadInput
from plait.lineage.document import Lineage
from plait.lineage.models import Made, Subject, address, digest_of, models_of, spdx_expression

_SPACE = uuid.UUID("6f6d0a0e-2f0f-5c7e-9d0b-0a3f0b8a2f11")
_WORD = re.compile(r"[a-z_]{1,32}")
EPOCH = "1970-01-01T00:00:00Z"


def export(lineage: Lineage, subject: Subject, format: str) -> dict[str, Any]:
    """Return a lineage in another form, as plain values for JSON.

    Args:
        lineage: what the revision was made from.
        subject: which revision it is, and where.
        format: `cyclonedx`, `prov` or `spdx`.

    Raises:
        BadInput: there is no such form.
    """
    if format not in FORMATS:
        raise BadInput(f"A lineage is exported as {', '.join(FORMATS)}; not as '{format[:40]}'.")
    return FORMATS[format](lineage, subject)


def cyclonedx(lineage: Lineage, subject: Subject) -> dict[str, Any]:
    """Return a CycloneDX 1.6 machine-learning bill of materials."""
    result, inputs = models_of(lineage, subject)
    serial = uuid.uuid5(_SPACE, digest_of(subject.repository, subject.revision))
    component = _component(result, subject)
    component["pedigree"] = {
        "ancestors": [_without_references(_component(one, subject)) for one in inputs],
        "notes": f"{'Fused by' if subject.kind == 'model' else 'Merged'} "
        f"{lineage.recipe.get('merge_method', 'an unnamed method')}.",
    }
    card: dict[str, Any] = {"modelParameters": {"approach": {"type": "supervised"}}}
    if lineage.evaluation is not None:
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [
                {
                    "type": task.metric,
                    "value": f"{task.score:.6g}",
                    "slice": name,
                    "confidenceInterval": {
                        "lowerBound": f"{task.interval[0]:.6g}",
                        "upperBound": f"{task.interval[1]:.6g}",
                    },
                }
                for name, task in sorted(lineage.evaluation.tasks.items())
            ]
        }
    if subject.kind == "model":
        component["modelCard"] = card
    facts = [{"name": name, "value": value} for name, value in stated(lineage)]
    if facts:
        component["properties"] = facts
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": lineage.created or EPOCH,
            "tools": {
                "components": [
                    {"type": "application", "name": name, "version": version}
                    for name, version in sorted(lineage.software.items())
                ]
            },
            "component": component,
        },
        "components": [_component(one, subject) for one in inputs],
        "dependencies": [
            {"ref": result.name, "dependsOn": [one.name for one in inputs]},
            *({"ref": one.name} for one in inputs),
        ],
    }


def prov(lineage: Lineage, subject: Subject) -> dict[str, Any]:
    """Return W3C PROV-JSON: models as entities, the fusion as an activity, people as agents."""
    result, inputs = models_of(lineage, subject)
    entities = {f"plait:{one.name}": _entity(one, subject) for one in (result, *inputs)}
    for name, value in stated(lineage):
        entities["plait:result"].setdefault(name, []).append(value)
    recipe = {
        "prov:type": {"$": "plait:Recipe", "type": "prov:QUALIFIED_NAME"},
        "plait:method": str(lineage.recipe.get("merge_method", "")),
    }
    activity: dict[str, Any] = {"prov:type": {"$": "plait:Fusion", "type": "prov:QUALIFIED_NAME"}}
    if lineage.created:
        activity["prov:endTime"] = lineage.created
    agents: dict[str, Any] = {
        f"plait:software-{name}": {
            "prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"},
            "plait:version": version,
        }
        for name, version in sorted(lineage.software.items())
    }
    attributed: dict[str, Any] = {}
    for one in inputs:
        if one.author is None:
            continue
        agent = f"plait:agent-{digest_of(one.author)[:12]}"
        kind = {"$": "prov:Person", "type": "prov:QUALIFIED_NAME"}
        agents[agent] = {"prov:type": kind, "prov:label": one.author}
        attributed[f"_:attributed-{one.name}"] = {
            "prov:entity": f"plait:{one.name}",
            "prov:agent": agent,
        }
    return {
        "prefix": {"plait": f"{subject.endpoint.rstrip('/')}/ns#"},
        "entity": {**entities, "plait:recipe": recipe},
        "activity": {"plait:fusion": activity},
        "agent": agents,
        "used": {
            f"_:used-{name}": {"prov:activity": "plait:fusion", "prov:entity": f"plait:{name}"}
            for name in (*(one.name for one in inputs), "recipe")
        },
        "wasGeneratedBy": {
            "_:generated": {"prov:entity": "plait:result", "prov:activity": "plait:fusion"}
        },
        "wasDerivedFrom": {
            f"_:derived-{one.name}": {
                "prov:generatedEntity": "plait:result",
                "prov:usedEntity": f"plait:{one.name}",
            }
            for one in inputs
        },
        "wasAssociatedWith": {
            f"_:associated-{name}": {
                "prov:activity": "plait:fusion",
                "prov:agent": f"plait:software-{name}",
            }
            for name in sorted(lineage.software)
        },
        "wasAttributedTo": attributed,
    }


def spdx(lineage: Lineage, subject: Subject) -> dict[str, Any]:
    """Return an SPDX 2.3 document: a package for each model, and how they depend on each other."""
    result, inputs = models_of(lineage, subject)
    name = digest_of(subject.repository, subject.revision)
    made_by = [f"Tool: {tool}-{version}" for tool, version in sorted(lineage.software.items())]
    packages = [_package(one, subject) for one in (result, *inputs)]
    for name, value in stated(lineage):
        packages[0]["comment"] += f". {name}: {value}"
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{subject.repository}@{subject.revision}",
        "documentNamespace": f"{address(subject, subject.repository, subject.revision)}"
        f"/spdx-{name[:16]}",
        "creationInfo": {
            "created": lineage.created or EPOCH,
            "creators": made_by or ["Tool: plait"],
        },
        "packages": packages,
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-result"),
            *(_relation("SPDXRef-result", "GENERATED_FROM", f"SPDXRef-{o.name}") for o in inputs),
        ],
    }


def stated(lineage: Lineage) -> list[tuple[str, str]]:
    """Return what a lineage says of data, privacy and budget, as names and values."""
    found = []
    for use in lineage.data:
        place = f"{use.dataset}@{use.revision or 'main'}" if use.dataset else "not public"
        hidden = ", hidden" if use.hidden else ""
        told = f"{use.task}, split {use.split}, {place}{hidden}, sha256 {use.items}"
        role = use.role if _WORD.fullmatch(use.role) else "other"
        found.append((f"plait:data-{role}", told))
    for one in lineage.contributions:
        if one.datasets:
            found.append(("plait:trained-on", f"#{one.number}: {', '.join(one.datasets)}"))
        if one.privacy:
            values = ", ".join(f"{k} {v:g}" for k, v in sorted(one.privacy.items()))
            found.append(("plait:privacy", f"#{one.number}: {values}"))
    # These become names in PROV, and anybody may have written them.
    budget = {k: v for k, v in sorted(lineage.budget.items()) if _WORD.fullmatch(k)}
    found += [(f"plait:budget-{key}", f"{value:g}") for key, value in budget.items()]
    return found


FORMATS: Mapping[str, Callable[[Lineage, Subject], dict[str, Any]]] = {
    "cyclonedx": cyclonedx,
    "prov": prov,
    "spdx": spdx,
}


def _component(one: Made, subject: Subject) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "machine-learning-model" if subject.kind == "model" else "data",
        "bom-ref": one.name,
        "group": one.repository.partition("/")[0],
        "name": one.repository.rpartition("/")[2],
        "version": one.revision,
        "description": one.title,
        "externalReferences": [
            {"type": "vcs", "url": address(subject, one.repository, one.revision)}
        ],
        "components": [
            {
                "type": "file",
                "bom-ref": f"{one.name}/{path}",
                "name": path,
                "hashes": [{"alg": "SHA-256", "content": sha256}],
            }
            for path, sha256 in sorted(one.files.items())
        ],
    }
    if one.author is not None:
        made["authors"] = [{"name": one.author}]
    expression = spdx_expression(one.licence)
    if expression is not None:
        made["licenses"] = [{"expression": expression}]
    elif one.licence:
        made["licenses"] = [{"license": {"name": one.licence}}]
    return made


def _without_references(component: dict[str, Any]) -> dict[str, Any]:
    """Return a component that is named a second time: a reference may be given only once."""
    inner = [_without_references(part) for part in component.get("components", [])]
    kept = {key: value for key, value in component.items() if key != "bom-ref"}
    return kept | ({"components": inner} if inner else {})


def _entity(one: Made, subject: Subject) -> dict[str, Any]:
    entity: dict[str, Any] = {
        "prov:type": {
            "$": "plait:Model" if subject.kind == "model" else "plait:DataSet",
            "type": "prov:QUALIFIED_NAME",
        },
        "prov:label": one.title,
        "prov:location": address(subject, one.repository, one.revision),
        "plait:repository": one.repository,
        "plait:revision": one.revision,
        "plait:sha256": sorted(one.files.values()),
    }
    if one.licence:
        entity["plait:licence"] = one.licence
    return entity


def _package(one: Made, subject: Subject) -> dict[str, Any]:
    expression = spdx_expression(one.licence)
    package: dict[str, Any] = {
        "SPDXID": f"SPDXRef-{one.name}",
        "name": one.repository,
        "versionInfo": one.revision,
        "downloadLocation": address(subject, one.repository, one.revision),
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": expression or "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "comment": f"{one.title}. Files by SHA-256: "
        + ", ".join(f"{path} {sha256}" for path, sha256 in sorted(one.files.items())),
    }
    if one.author is not None:
        package["originator"] = f"Person: {one.author}"
    if one.licence and expression is None:
        package["licenseComments"] = f"Stated on the card: {one.licence}"
    return package


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
