"""The list of what the image consists of, as scanners and auditors read it."""

import json
import urllib.parse

from contents import WHEELS, debian_packages
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from steps import require

PLACE = "usr/share/doc/denoised/sbom.cdx.json"
PAGE = "usr/share/doc/denoised/page"


def check_sbom(image):
    text = image.root.joinpath(PLACE).read_text()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    require(error is None, f"the SBOM is not valid CycloneDX 1.6: {error}")
    sbom = json.loads(text)
    itself = sbom["metadata"]["component"]
    require(
        (itself["name"], itself.get("version")) == ("denoised", image.version),
        f"the SBOM describes {itself['name']} {itself.get('version')}",
    )
    listed = {
        purl_name(component["purl"]) for component in sbom["components"] if "purl" in component
    }
    for name in sorted(expected(image.root)):
        require(name in listed, f"the SBOM lacks {name}")


def purl_name(purl):
    """pkg:deb/debian/zlib1g@1%3A1.2.13?arch=amd64 is deb/debian/zlib1g@1:1.2.13."""
    return urllib.parse.unquote(purl.removeprefix("pkg:").partition("?")[0])


def expected(root):
    """What the image holds, by its own files."""
    for name, version in debian_packages(root).items():
        yield f"deb/debian/{name}@{version}"
    for wheel in root.glob(f"{WHEELS}/*.dist-info"):
        name, _, version = wheel.name.removesuffix(".dist-info").partition("-")
        yield f"pypi/{name.replace('_', '-')}@{version}"
    for package in root.glob(f"{PAGE}/node_modules/**/package.json"):
        description = json.loads(package.read_text())
        yield f"npm/{description['name']}@{description['version']}"
