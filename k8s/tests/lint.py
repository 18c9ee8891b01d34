"""Other people's linters: checkov on rendered manifests, hadolint on the Dockerfile."""

import json
import pathlib
import subprocess
import tempfile

import yaml

# Checks of checkov that do not fit, and why.
NOT_FOR_US = {
    "CKV_K8S_43": "digests are set by the overlay of whoever pushes the images",
    "CKV_K8S_15": "tags are immutable, so pulling each time only adds a way to fail",
    "CKV_K8S_35": "the secrets that come as variables are rclone's credentials, which it reads so",
}


def checkov_problems(docs, checkov):
    """What checkov objects to in the documents, once each."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rendered.yaml")
        path.write_text(yaml.safe_dump_all(docs))
        skipped = ",".join(sorted(NOT_FOR_US))
        done = subprocess.run(
            [checkov, "--file", path, "--framework", "kubernetes", "--output", "json", "--quiet",
             "--compact", "--skip-check", skipped, "--skip-download"],
            capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        return [f"checkov said nothing readable: {(done.stderr or done.stdout).strip()[-400:]}"]
    if "results" not in report:
        return [f"checkov looked at nothing: {report}"]
    return sorted({f"{failed['check_id']} {failed['resource']}: {failed['check_name']}"
                   for failed in report["results"]["failed_checks"]})


def hadolint_problems(dockerfile):
    done = subprocess.run(["hadolint", "--no-color", dockerfile], capture_output=True, text=True,
                          check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line] if done.returncode else []
