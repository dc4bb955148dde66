#!/usr/bin/env python3
"""Records what Kubernetes' Go types say about their protobuf form, and objects in both forms.

Usage: record.py API APIMACHINERY APIEXTENSIONS-APISERVER

The arguments are git repositories of Kubernetes' published Go modules with the tag below, which is the release of
the crate k8s-pb. Writes two files beside this script:

presence.txt   One message a line with its fields that are pointers (*NAME: absent unless set) and its scalars that JSON
               shows even if they are zero (!NAME). No other published form of the types has these two facts.
recorded.json  The objects of Kubernetes' own test of compatibility, of every served kind: one a line, in JSON and in
               protobuf as Go writes it.
"""
import base64, json, pathlib, re, subprocess, sys

TAG = 'v0.35.0'
HERE = pathlib.Path(__file__).parent
SCHEMAS = HERE / '../../../machinery/src/schema/kubernetes.json'
SCALARS = {'string', 'bool', 'int32', 'int64', 'float64', 'types.UID', 'intstr.IntOrString'}
PACKAGES = [r'(\w+)/v[12]/types\w*\.go', r'pkg/apis/(apiextensions|meta)/v1/types\w*\.go']


def git(repository, *arguments):
    return subprocess.run(['git', '-C', repository, *arguments], check=True, capture_output=True).stdout


def files(repository):
    return git(repository, 'ls-tree', '-r', '--name-only', TAG).decode().split('\n')


def sources(repositories):
    """Package and text of each file with types."""
    for prefix, repository in repositories:
        for name in files(repository):
            if any(re.fullmatch(pattern, name) for pattern in PACKAGES):
                package = prefix + name.rsplit('/', 1)[0].replace('/', '.')
                yield package, git(repository, 'show', f'{TAG}:{name}').decode()


def presence(texts):
    named = {name for _, text in texts for name, of in re.findall(r'^type (\w+) (\w+)$', text, re.M) if of in SCALARS}
    lines = []
    for package, text in texts:
        for name, body in re.findall(r'^type (\w+) struct \{\n(.*?)^\}', text, re.M | re.S):
            facts = []
            for kind, key, options in re.findall(r'^\s*\w+\s+(\S+)\s+`[^`]*json:"([^",-][^",]*)(,?[^"]*)"', body, re.M):
                scalar = kind in SCALARS or kind.rsplit('.', 1)[-1] in named
                if kind.startswith('*'):
                    facts.append('*' + key)
                elif scalar and 'omitempty' not in options:
                    facts.append('!' + key)
            if facts:
                lines.append(' '.join([f'{package}.{name}', *facts]))
    return sorted(lines)


def recorded(repository, folder, served):
    for name in sorted(files(repository)):
        found = re.fullmatch(folder + r'/(.+)\.(v\d+)\.(\w+)\.json', name)
        if not found:
            continue
        text = json.loads(git(repository, 'show', f'{TAG}:{name}'))
        version, kind = text.get('apiVersion'), text.get('kind')
        if (version, kind) not in served:
            continue
        wire = git(repository, 'show', f'{TAG}:{name[:-len("json")]}pb')
        yield {'json': text, 'protobuf': base64.b64encode(wire).decode()}


def main():
    api, machinery, extensions = sys.argv[1:]
    texts = list(sources([('api.', api), ('apimachinery.', machinery), ('apiextensions-apiserver.', extensions)]))
    (HERE / 'presence.txt').write_text('\n'.join(presence(texts)) + '\n')
    served = set()
    for name, schema in json.loads(SCHEMAS.read_text()).items():
        package, version, kind = name.rsplit('.', 2)
        if 'metadata' not in schema.get('properties', {}):
            continue
        group = package.rsplit('.', 1)[1]
        domain = {'core': '', 'apps': 'apps/', 'batch': 'batch/', 'policy': 'policy/', 'autoscaling': 'autoscaling/',
                  'rbac': 'rbac.authorization.k8s.io/'}.get(group, f'{group}.k8s.io/')
        served.add((domain + version, kind))
    objects = [*recorded(api, 'testdata/HEAD', served), *recorded(extensions, 'pkg/apis/testdata/HEAD', served)]
    lines = [json.dumps(line, sort_keys=True, separators=(',', ':')) for line in objects]
    (HERE / 'recorded.json').write_text('[\n' + ',\n'.join(lines) + '\n]\n')


main()
