#!/usr/bin/env python3
"""
Asks a Kubernetes API server on loopback a fixed set of questions about MXJobs and writes down what it
answers: OUT/GROUP.json, an array of {name, method, path, headers, body, status, response_headers, response}.

    record.py https://127.0.0.1:PORT OUT [--rows expected] [--definition definition.json] [GROUP ...]

Tokens come from the environment: ADMIN_TOKEN (a user in the group system:masters), LIMITED_TOKEN (a user without
any rights); a third, bogus-token, must be unknown. The server must run without job controller and garbage
collection, so that nothing but these requests changes an object. Groups run in the order of this file; some list
all namespaces, so a group may see what an earlier one left. With --rows, a watch that has no row in that folder is
not waited for (what it does to objects is still done): the slowest ones are there to look at, not to compare.
With --definition, MXJobs are defined by that file first, in the way of `kubectl apply`.
"""
import http.client, json, os, ssl, sys, threading, time, copy, gzip
from urllib.parse import quote

ARGS = sys.argv[1:]
def option(name):
    if name not in ARGS: return None
    i = ARGS.index(name); value = ARGS[i + 1]; del ARGS[i:i + 2]
    return value
ROWS, DEFINITION = option('--rows'), option('--definition')
URL, OUT, ONLY = ARGS[0], ARGS[1], set(ARGS[2:])
HOST, PORT = URL.split('//')[1].split(':'); PORT = int(PORT)
CTX = ssl._create_unverified_context()
G = '/apis/kubeflow.org/v1'
JSONCT = 'application/json'
TOKENS = {'admin-token': os.environ.get('ADMIN_TOKEN', 'admin-token'), 'limited-token': os.environ.get('LIMITED_TOKEN', 'limited-token')}

def conn():
    if URL.startswith('https'):
        return http.client.HTTPSConnection(HOST, PORT, context=CTX, timeout=60)
    return http.client.HTTPConnection(HOST, PORT, timeout=60)

def raw(method, path, headers=None, body=None, token='admin-token'):
    h = {'Accept': JSONCT}
    if headers: h.update(headers)
    h = {k: v for k, v in h.items() if v is not None}
    if token: h['Authorization'] = 'Bearer ' + TOKENS.get(token, token)
    data = None
    if body is not None:
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if 'Content-Type' not in h and not (headers and 'Content-Type' in headers): h['Content-Type'] = JSONCT
    c = conn(); c.putrequest(method, path, skip_accept_encoding=True)
    for k, v in h.items(): c.putheader(k, v)
    if data is not None: c.putheader('Content-Length', str(len(data)))
    c.endheaders(data)
    r = c.getresponse(); b = r.read(); c.close()
    return r.status, r.getheaders(), b, h

class Rec:
    def __init__(self): self.rows = []
    def __call__(self, name, method, path, body=None, headers=None, token='admin-token', note=None, show_body=True, text=False, trim=None):
        try: st, rh, b, h = raw(method, path, headers, body, token)
        except (http.client.HTTPException, OSError) as e:
            self.rows.append({'name': name, 'method': method, 'path': path, 'headers': headers or {}, 'body': body if isinstance(body, str) else show_body, 'status': None, 'response_headers': None, 'response': None, 'note': 'the server closed the connection without an answer (%s)' % type(e).__name__})
            return None, None, {}
        h = dict(h)
        if 'Authorization' in h: h['Authorization'] = 'Bearer ' + {'admin-token': '<admin>', 'limited-token': '<limited>'}.get(token, '<%s>' % token)
        hd = {}
        for k, v in rh: hd.setdefault(k, []).append(v)
        hd = {k: v[0] if len(v) == 1 else v for k, v in hd.items()}
        resp = None
        if hd.get('Content-Encoding') == 'gzip':
            note = (note + '; ' if note else '') + 'gzip: %d bytes sent, %d unpacked' % (len(b), len(gzip.decompress(b)))
            b = gzip.decompress(b)
        if text: resp = b.decode('utf-8', 'replace')
        else:
            try: resp = json.loads(b)
            except Exception: resp = b.decode('utf-8', 'replace')
        full = resp
        if trim: resp = trim(resp)
        row = {'name': name, 'method': method, 'path': path, 'headers': h}
        if isinstance(body, bytes): body = body.decode('utf-8', 'replace')
        row['body'] = body if show_body is True else show_body
        row['status'] = st; row['response_headers'] = hd; row['response'] = resp
        if note: row['note'] = note
        self.rows.append(row)
        return st, full, hd

def setup(method, path, body=None, headers=None, ok=(200, 201)):
    st, rh, b, h = raw(method, path, headers, body)
    if ok and st not in ok: print('setup', method, path, st, b[:300])
    try: return json.loads(b)
    except Exception: return b

def mx(name=None, ns=None, labels=None, ann=None, spec=None, gen=None):
    m = {}
    if name: m['name'] = name
    if gen: m['generateName'] = gen
    if ns: m['namespace'] = ns
    if labels: m['labels'] = labels
    if ann: m['annotations'] = ann
    rs = lambda: {'replicas': 1, 'restartPolicy': 'Never', 'template': {'spec': {'containers': [{'name': 'mxnet', 'image': 'mxnet:1', 'command': ['/bin/true']}]}}}
    return {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': m,
            'spec': spec or {'jobMode': 'MXTrain', 'cleanPodPolicy': 'Running', 'ttlSecondsAfterFinished': 10000,
                             'mxReplicaSpecs': {'Scheduler': rs(), 'Server': rs(), 'Worker': rs()}}}

def small(name=None, **kw):
    return mx(name, spec={'jobMode': 'MXTrain', 'mxReplicaSpecs': {'Worker': {'replicas': 1, 'restartPolicy': 'Never', 'template': {'spec': {'containers': [{'name': 'mxnet', 'image': 'mxnet:1'}]}}}}}, **kw)

def fresh(ns):
    setup('POST', '/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': ns}}, ok=None)
    setup('DELETE', f'{G}/namespaces/{ns}/mxjobs')
    return f'{G}/namespaces/{ns}/mxjobs'

def define(file):
    """Creates a definition as `kubectl apply` does, and waits until its kind is served."""
    made = json.load(open(file)); names = made['spec']['names']
    applied = {**made, 'metadata': {'annotations': {}, **made['metadata']}}
    note = json.dumps(applied, sort_keys=True, separators=(',', ':')) + '\n'
    made['metadata']['annotations'] = {'kubectl.kubernetes.io/last-applied-configuration': note}
    path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    st, _, b, _ = raw('POST', path + '?fieldManager=kubectl-client-side-apply', None, made)
    if st != 201: sys.exit(f'cannot create the definition: {st} {b[:300]}')
    for _ in range(600):
        st, _, b, _ = raw('GET', G)
        if st == 200 and any(r['name'] == names['plural'] for r in json.loads(b)['resources']): return
        time.sleep(0.05)
    sys.exit(f'{names["plural"]} are not served 30 seconds after they were defined')

GROUPS = {}
def group(f): GROUPS[f.__name__] = f; return f

@group
def create(r):
    p = fresh('vec-create')
    r('create', 'POST', p, mx('a'))
    r('create duplicate', 'POST', p, mx('a'))
    r('create in a missing namespace', 'POST', f'{G}/namespaces/no-such-ns/mxjobs', mx('a'))
    r('create, invalid name (upper case)', 'POST', p, mx('Bad_Name'))
    r('create, name too long (254)', 'POST', p, mx('a' * 254))
    r('create, name of 253', 'POST', p, mx('a' * 253))
    r('create, name with a dot', 'POST', p, mx('a.b'))
    r('create, name with a slash', 'POST', p, mx('a/b'))
    r('create, no name and no generateName', 'POST', p, mx())
    r('create, generateName', 'POST', p, mx(gen='gen-'))
    r('create, generateName and name', 'POST', p, mx('named', gen='gen-'))
    r('create, generateName of 70 characters', 'POST', p, mx(gen='g' * 70 + '-'))
    r('create, invalid generateName', 'POST', p, mx(gen='Bad_'))
    r('create, namespace in body differs from the path', 'POST', p, mx('ns-mismatch', ns='default'))
    r('create, namespace in body same as the path', 'POST', p, mx('ns-same', ns='vec-create'))
    r('create, all-namespaces path', 'POST', f'{G}/mxjobs', mx('allns', ns='vec-create'))
    r('create, invalid label key and value', 'POST', p, mx('badlabel', labels={'bad key': 'x', 'ok': 'bad value!'}))
    r('create, invalid annotation key', 'POST', p, mx('badann', ann={'bad key': 'x'}))
    r('create, annotations over 256 KiB', 'POST', p, mx('bigann', ann={'k': 'x' * 262145}), show_body='(annotation k of 262145 characters)')
    r('create, label value not a string', 'POST', p, mx('numlabel', labels={'n': 5}))
    r('create, wrong kind', 'POST', p, {**mx('k'), 'kind': 'Pod'})
    r('create, wrong apiVersion', 'POST', p, {**mx('k'), 'apiVersion': 'kubeflow.org/v2'})
    r('create, wrong group', 'POST', p, {**mx('k'), 'apiVersion': 'v1'})
    b = mx('nokind'); del b['kind']; r('create, no kind', 'POST', p, b)
    b = mx('noapi'); del b['apiVersion']; r('create, no apiVersion', 'POST', p, b)
    b = mx('neither'); del b['kind'], b['apiVersion']; r('create, neither kind nor apiVersion', 'POST', p, b)
    b = mx('client-set'); b['metadata'].update(uid='11111111-2222-3333-4444-555555555555', resourceVersion='', generation=7, creationTimestamp='2001-01-01T00:00:00Z', selfLink='/x', deletionTimestamp='2001-01-01T00:00:00Z', deletionGracePeriodSeconds=5); b['status'] = {'conditions': [{'type': 'Created', 'status': 'True'}]}
    r('create, system fields and status set by the client', 'POST', p, b)
    b = mx('with-rv'); b['metadata']['resourceVersion'] = '5'; r('create, resourceVersion set', 'POST', p, b)
    b = mx('finalizer'); b['metadata']['finalizers'] = ['example.com/hold']; r('create, with a finalizer', 'POST', p, b)
    b = mx('badfinalizer'); b['metadata']['finalizers'] = ['hold it']; r('create, invalid finalizer', 'POST', p, b)
    b = mx('plainfinalizer'); b['metadata']['finalizers'] = ['hold']; r('create, finalizer without a domain', 'POST', p, b)
    b = mx('owner'); b['metadata']['ownerReferences'] = [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'x', 'uid': 'u-1', 'controller': True, 'blockOwnerDeletion': True}]; r('create, ownerReferences', 'POST', p, b)
    b = mx('owner2'); b['metadata']['ownerReferences'] = [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': '', 'uid': ''}]; r('create, ownerReferences invalid', 'POST', p, b)
    r('create, empty body', 'POST', p, '')
    r('create, body is a JSON array', 'POST', p, '[]')
    r('create, body null', 'POST', p, 'null')
    r('create, body {}', 'POST', p, '{}')
    r('create, metadata missing', 'POST', p, {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'spec': mx('x')['spec']})
    r('create, spec missing', 'POST', p, {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'nospec'}})
    r('create, spec null', 'POST', p, {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'nullspec'}, 'spec': None})
    r('create, spec a string', 'POST', p, {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'strspec'}, 'spec': 'x'})
    r('create, YAML body', 'POST', p, 'apiVersion: kubeflow.org/v1\nkind: MXJob\nmetadata:\n  name: yaml\nspec:\n  jobMode: MXTrain\n  mxReplicaSpecs: {}\n', headers={'Content-Type': 'application/yaml'})
    r('create, fieldManager', 'POST', p + '?fieldManager=me', mx('fm'))
    r('create, fieldManager too long (129)', 'POST', p + '?fieldManager=' + 'm' * 129, mx('fm2'))
    r('create, User-Agent decides the manager', 'POST', p, mx('ua'), headers={'User-Agent': 'kubectl/v1.32.0 (linux/amd64) kubernetes/abc'})
    r('create at a name path (POST to an item)', 'POST', p + '/a', mx('a'))
    setup('PATCH', p + '/finalizer', {'metadata': {'finalizers': None}}, {'Content-Type': 'application/merge-patch+json'})
    setup('PATCH', p + '/plainfinalizer', {'metadata': {'finalizers': None}}, {'Content-Type': 'application/merge-patch+json'}, ok=None)

@group
def get(r):
    p = fresh('vec-get'); setup('POST', p, mx('a', labels={'x': 'y'}))
    r('get', 'GET', p + '/a')
    r('get missing', 'GET', p + '/nope')
    r('get in a missing namespace', 'GET', f'{G}/namespaces/no-such-ns/mxjobs/a')
    for q in ('pretty=true', 'pretty=1', 'pretty=false', 'pretty=0', 'pretty'):
        r('get ?' + q, 'GET', p + '/a?' + q, text=True)
    r('get missing, pretty', 'GET', p + '/nope?pretty=true', text=True)
    r('get, User-Agent curl (pretty by default)', 'GET', p + '/a', headers={'User-Agent': 'curl/7.88.1'}, text=True)
    r('get, User-Agent Wget', 'GET', p + '/a', headers={'User-Agent': 'Wget/1.21'}, text=True)
    r('get, User-Agent Mozilla', 'GET', p + '/a', headers={'User-Agent': 'Mozilla/5.0'}, text=True)
    r('get, curl with pretty=false', 'GET', p + '/a?pretty=false', headers={'User-Agent': 'curl/7.88.1'}, text=True)
    for a in ('*/*', 'application/json;pretty=1', 'application/yaml', 'application/json, */*', 'text/plain', 'text/html', 'application/vnd.kubernetes.protobuf', 'application/vnd.kubernetes.protobuf, application/json', 'application/cbor', 'application/json;q=0.5, application/yaml;q=0.9', 'garbage', 'application/json;charset=utf-8'):
        r('get, Accept: ' + a, 'GET', p + '/a', headers={'Accept': a}, text=True)
    r('get, no Accept', 'GET', p + '/a', headers={'Accept': None})
    o = setup('GET', p + '/a')
    rv = o['metadata']['resourceVersion']
    r('get ?resourceVersion=0', 'GET', p + '/a?resourceVersion=0')
    r('get ?resourceVersion=now', 'GET', p + '/a?resourceVersion=' + rv)
    r('get ?resourceVersion=1 (older than the object)', 'GET', p + '/a?resourceVersion=1')
    r('get ?resourceVersion far ahead', 'GET', p + '/a?resourceVersion=' + str(int(rv) + 1000000))
    r('get ?resourceVersion=abc', 'GET', p + '/a?resourceVersion=abc')
    r('get, unknown query parameter', 'GET', p + '/a?nonsense=1')
    r('get, trailing slash', 'GET', p + '/a/')
    r('get, double slash', 'GET', p + '//a')
    r('get status subresource', 'GET', p + '/a/status')
    r('get scale subresource (not defined)', 'GET', p + '/a/scale')
    r('get, unknown subresource', 'GET', p + '/a/foo')
    r('HEAD', 'HEAD', p + '/a')
    r('HEAD missing', 'HEAD', p + '/nope')
    r('HEAD list', 'HEAD', p)
    r('OPTIONS item', 'OPTIONS', p + '/a')
    r('OPTIONS collection', 'OPTIONS', p)
    r('OPTIONS with Origin', 'OPTIONS', p, headers={'Origin': 'http://example.com', 'Access-Control-Request-Method': 'GET'})
    r('get, kubectl headers', 'GET', p + '/a', headers={'User-Agent': 'kubectl/v1.32.4 (linux/amd64) kubernetes/5b2a1d9', 'Kubectl-Command': 'kubectl get', 'Kubectl-Session': '1'})

@group
def table(r):
    p = fresh('vec-table')
    for n in ('a', 'b'): setup('POST', p, small(n, labels={'n': n}))
    T = 'application/json;as=Table;v=v1;g=meta.k8s.io'
    P = 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'
    PL = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io'
    r('table, one', 'GET', p + '/a', headers={'Accept': T})
    r('table, list', 'GET', p, headers={'Accept': T})
    r('table, list, what kubectl sends', 'GET', p + '?limit=500', headers={'Accept': T + ',application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json'})
    r('table, includeObject=None', 'GET', p + '?includeObject=None', headers={'Accept': T})
    r('table, includeObject=Object', 'GET', p + '?includeObject=Object', headers={'Accept': T})
    r('table, includeObject=Metadata', 'GET', p + '?includeObject=Metadata', headers={'Accept': T})
    r('table, includeObject=bogus', 'GET', p + '?includeObject=bogus', headers={'Accept': T})
    r('table, v1beta1', 'GET', p + '/a', headers={'Accept': T.replace('v=v1', 'v=v1beta1')})
    r('table, v2 (unknown), nothing else accepted', 'GET', p + '/a', headers={'Accept': T.replace('v=v1', 'v=v2')})
    r('table, v2 (unknown), JSON accepted too', 'GET', p + '/a', headers={'Accept': T.replace('v=v1', 'v=v2') + ',application/json'})
    r('table, unknown kind', 'GET', p + '/a', headers={'Accept': T.replace('Table', 'Chart')})
    r('table, empty list', 'GET', fresh('vec-table-empty'), headers={'Accept': T})
    r('table, get missing', 'GET', p + '/nope', headers={'Accept': T})
    r('table, limit=1', 'GET', p + '?limit=1', headers={'Accept': T})
    r('table on create', 'POST', p, small('c'), headers={'Accept': T})
    r('table, yaml', 'GET', p + '/a', headers={'Accept': 'application/yaml;as=Table;v=v1;g=meta.k8s.io'}, text=True)
    r('partial, one', 'GET', p + '/a', headers={'Accept': P})
    r('partial, list', 'GET', p, headers={'Accept': PL})
    r('partial, list asked as PartialObjectMetadata', 'GET', p, headers={'Accept': P})
    r('partial, one asked as a list', 'GET', p + '/a', headers={'Accept': PL})
    r('table, all namespaces', 'GET', f'{G}/mxjobs?labelSelector=n', headers={'Accept': T})
    r('table, pretty', 'GET', p + '/a?pretty=true', headers={'Accept': T}, text=True)

@group
def listing(r):
    p = fresh('vec-list')
    lab = {'a': {'app': 'x', 'tier': 'front'}, 'b': {'app': 'y', 'tier': 'back'}, 'c': {'app': 'x'}, 'd': {}, 'e': {'app': 'z', 'n': '5'}}
    for n, l in lab.items(): setup('POST', p, small(n, labels=l or None))
    names = lambda x: x if not isinstance(x, dict) or 'items' not in x else {**x, 'items': [{'metadata': {'name': i['metadata']['name']}} for i in x['items']]}
    st, full, _ = r('list', 'GET', p)
    r('list, pretty', 'GET', p + '?pretty=true', text=True)
    r('list, empty namespace that exists', 'GET', fresh('vec-list-empty'))
    r('list, missing namespace', 'GET', f'{G}/namespaces/no-such-ns/mxjobs')
    r('list, all namespaces', 'GET', f'{G}/mxjobs', trim=names)
    st, l1, _ = r('list limit=2, page 1', 'GET', p + '?limit=2', trim=names, note='items cut to their names in this and the rows marked so')
    c1 = l1['metadata']['continue']; rv1 = l1['metadata']['resourceVersion']
    st, l2, _ = r('list limit=2, page 2', 'GET', p + '?limit=2&continue=' + quote(c1), trim=names)
    st, l3, _ = r('list limit=2, page 3', 'GET', p + '?limit=2&continue=' + quote(l2['metadata'].get('continue', '')), trim=names)
    setup('POST', p, small('bb'))
    r('list, page 2 again after a write (same snapshot)', 'GET', p + '?limit=2&continue=' + quote(c1), trim=names)
    setup('DELETE', p + '/bb')
    r('list, continue without limit', 'GET', p + '?continue=' + quote(c1), trim=names)
    r('list, continue with resourceVersion', 'GET', p + '?limit=2&resourceVersion=' + rv1 + '&continue=' + quote(c1), trim=names)
    r('list, continue with resourceVersion=0', 'GET', p + '?limit=2&resourceVersion=0&continue=' + quote(c1), trim=names)
    r('list, continue garbage', 'GET', p + '?limit=2&continue=garbage')
    r('list, continue of another namespace', 'GET', f'{G}/namespaces/vec-list-empty/mxjobs?limit=2&continue=' + quote(c1), trim=names)
    r('list, limit=0', 'GET', p + '?limit=0', trim=names)
    r('list, limit=-1', 'GET', p + '?limit=-1', trim=names)
    r('list, limit=abc', 'GET', p + '?limit=abc')
    r('list, limit above the count', 'GET', p + '?limit=100', trim=names)
    r('list, limit with labelSelector (remainingItemCount?)', 'GET', p + '?limit=1&labelSelector=app', trim=names)
    rv = full['metadata']['resourceVersion']
    for q in ('resourceVersion=0', 'resourceVersion=' + rv, 'resourceVersion=' + rv + '&resourceVersionMatch=Exact', 'resourceVersion=' + rv + '&resourceVersionMatch=NotOlderThan', 'resourceVersionMatch=Exact', 'resourceVersion=0&resourceVersionMatch=Exact', 'resourceVersion=0&resourceVersionMatch=NotOlderThan', 'resourceVersion=' + rv + '&resourceVersionMatch=Bogus', 'resourceVersion=1&resourceVersionMatch=Exact', 'resourceVersion=1', 'resourceVersion=abc', 'resourceVersion=-1', 'resourceVersion=0&limit=2', 'resourceVersion=' + rv + '&limit=2'):
        r('list ?' + q.replace(rv, 'RV'), 'GET', p + '?' + q, trim=names)
    r('list ?resourceVersion far ahead', 'GET', p + '?resourceVersion=' + str(int(rv) + 1000000), trim=names)
    r('list ?resourceVersion far ahead, Exact', 'GET', p + '?resourceVersionMatch=Exact&resourceVersion=' + str(int(rv) + 1000000), trim=names)
    for s in ('metadata.name=b', 'metadata.name==b', 'metadata.name!=b', 'metadata.namespace=vec-list', 'metadata.namespace=other', 'metadata.name=b,metadata.namespace=vec-list', 'metadata.name=nope', 'spec.jobMode=MXTrain', 'status.phase=x', 'metadata.uid=x', 'metadata.name', 'metadata.name=b,metadata.name=c', '=', 'metadata.name in (a,b)'):
        r('list ?fieldSelector=' + s, 'GET', p + '?fieldSelector=' + quote(s), trim=names)
    r('list all namespaces ?fieldSelector=metadata.namespace', 'GET', f'{G}/mxjobs?fieldSelector=metadata.namespace%3Dvec-list', trim=names)
    for s in ('app=x', 'app==x', 'app!=x', 'app in (x,y)', 'app notin (x,y)', 'app', '!app', 'app=x,tier=front', 'app=x,!tier', 'app in (x),tier', 'app=', 'app in ()', 'n>4', 'n>5', 'n<6', 'n>a', 'app=bad value!', 'bad key=x', 'app in (x', ',', '', ' app = x ', 'app=x,', 'app notin (x)', '!app,!tier'):
        r('list ?labelSelector=' + s, 'GET', p + '?labelSelector=' + quote(s), trim=names)
    r('get one with a labelSelector (ignored?)', 'GET', p + '/a?labelSelector=app%3Dzzz', trim=lambda x: {'metadata': {'name': x['metadata']['name']}} if 'metadata' in x and 'name' in x['metadata'] else x)
    r('list, unknown parameter', 'GET', p + '?foo=bar', trim=names)
    r('list, timeoutSeconds', 'GET', p + '?timeoutSeconds=5', trim=names)
    r('list, yaml', 'GET', p + '?limit=1', headers={'Accept': 'application/yaml'}, text=True)

@group
def replace(r):
    p = fresh('vec-put'); o = setup('POST', p, mx('a', labels={'l': '1'}))
    rv0 = o['metadata']['resourceVersion']
    b = copy.deepcopy(o); b['spec']['ttlSecondsAfterFinished'] = 20000
    st, o1, _ = r('replace, current resourceVersion, spec changed', 'PUT', p + '/a', b)
    r('replace, stale resourceVersion', 'PUT', p + '/a', b)
    b2 = copy.deepcopy(o1); del b2['metadata']['resourceVersion']; b2['spec']['ttlSecondsAfterFinished'] = 20001
    st, o2, _ = r('replace, no resourceVersion', 'PUT', p + '/a', b2)
    b2 = copy.deepcopy(o1); b2['metadata']['resourceVersion'] = ''; b2['spec']['ttlSecondsAfterFinished'] = 20002
    st, o2, _ = r('replace, empty resourceVersion', 'PUT', p + '/a', b2)
    b2 = copy.deepcopy(o1); b2['metadata']['resourceVersion'] = '0'
    r('replace, resourceVersion "0"', 'PUT', p + '/a', b2)
    b2['metadata']['resourceVersion'] = 'abc'
    r('replace, resourceVersion "abc"', 'PUT', p + '/a', b2)
    cur = setup('GET', p + '/a')
    st, nop, _ = r('replace, nothing changed', 'PUT', p + '/a', cur, note='compare resourceVersion, generation and managedFields time with the body')
    c = copy.deepcopy(cur); c['metadata'].pop('managedFields')
    r('replace, nothing changed, managedFields left out', 'PUT', p + '/a', c)
    c = copy.deepcopy(cur); c['metadata']['managedFields'] = []
    r('replace, managedFields set to []', 'PUT', p + '/a', c)
    cur = setup('GET', p + '/a'); c = copy.deepcopy(cur); c['metadata']['labels'] = {'l': '2'}
    r('replace, only labels changed (generation)', 'PUT', p + '/a', c)
    cur = setup('GET', p + '/a'); c = copy.deepcopy(cur); c['metadata']['annotations'] = {'x': '2'}
    r('replace, only annotations changed (generation)', 'PUT', p + '/a', c)
    cur = setup('GET', p + '/a'); c = copy.deepcopy(cur); c['status'] = {'startTime': '2020-01-01T00:00:00Z'}
    r('replace, status changed on the main resource', 'PUT', p + '/a', c)
    cur = setup('GET', p + '/a'); c = copy.deepcopy(cur); c['metadata']['generation'] = 99; c['metadata']['creationTimestamp'] = '2001-01-01T00:00:00Z'
    r('replace, generation and creationTimestamp changed by the client', 'PUT', p + '/a', c)
    c = copy.deepcopy(cur); c['metadata']['creationTimestamp'] = None
    r('replace, creationTimestamp null', 'PUT', p + '/a', c)
    c = copy.deepcopy(cur); c['metadata']['name'] = 'b'
    r('replace, name differs from the path', 'PUT', p + '/a', c)
    c = copy.deepcopy(cur); del c['metadata']['name']
    r('replace, no name in the body', 'PUT', p + '/a', c)
    c = copy.deepcopy(cur); c['metadata']['namespace'] = 'default'
    r('replace, namespace differs from the path', 'PUT', p + '/a', c)
    c = copy.deepcopy(cur); del c['metadata']['namespace']
    r('replace, no namespace in the body', 'PUT', p + '/a', c)
    c = copy.deepcopy(setup('GET', p + '/a')); c['metadata']['uid'] = '11111111-2222-3333-4444-555555555555'
    r('replace, uid differs', 'PUT', p + '/a', c)
    c['metadata'].pop('resourceVersion')
    r('replace, uid differs, no resourceVersion', 'PUT', p + '/a', c)
    c = copy.deepcopy(setup('GET', p + '/a')); del c['metadata']['uid']
    r('replace, no uid', 'PUT', p + '/a', c)
    c = copy.deepcopy(setup('GET', p + '/a')); c['kind'] = 'Pod'; r('replace, wrong kind', 'PUT', p + '/a', c)
    c = copy.deepcopy(setup('GET', p + '/a')); c['apiVersion'] = 'v1'; r('replace, wrong apiVersion', 'PUT', p + '/a', c)
    c = copy.deepcopy(setup('GET', p + '/a')); del c['spec']; r('replace, spec left out', 'PUT', p + '/a', c)
    r('replace missing object', 'PUT', p + '/nope', mx('nope'))
    c = mx('nope'); c['metadata']['resourceVersion'] = '5'; r('replace missing object, with resourceVersion', 'PUT', p + '/nope', c)
    c = mx('nope'); c['metadata']['uid'] = '11111111-2222-3333-4444-555555555555'; r('replace missing object, with uid', 'PUT', p + '/nope', c)
    r('replace in a missing namespace', 'PUT', f'{G}/namespaces/no-such-ns/mxjobs/a', mx('a'))
    r('replace, empty body', 'PUT', p + '/a', '')
    r('replace on the collection', 'PUT', p, mx('a'))
    L = '/apis/coordination.k8s.io/v1/namespaces/vec-put/leases'
    setup('DELETE', L + '/made', ok=None)
    lease = {'apiVersion': 'coordination.k8s.io/v1', 'kind': 'Lease', 'metadata': {'name': 'made', 'namespace': 'vec-put'}, 'spec': {'holderIdentity': 'me', 'leaseDurationSeconds': 15}}
    setup('DELETE', L + '/made', ok=None)
    st, l, _ = r('replace missing lease (create on update)', 'PUT', L + '/made', lease)
    r('replace lease again, no resourceVersion', 'PUT', L + '/made', {**lease, 'spec': {'holderIdentity': 'you'}})
    lease2 = copy.deepcopy(lease); lease2['metadata']['resourceVersion'] = '5'; lease2['metadata']['name'] = 'made2'
    r('replace missing lease with resourceVersion', 'PUT', L + '/made2', lease2)
    lease2['metadata'].pop('resourceVersion'); lease2['metadata']['uid'] = '11111111-2222-3333-4444-555555555555'
    r('replace missing lease with uid', 'PUT', L + '/made2', lease2)

@group
def status(r):
    p = fresh('vec-status'); o = setup('POST', p, mx('a'))
    b = copy.deepcopy(o); b['status'] = {'startTime': '2020-01-01T00:00:00Z', 'conditions': [{'type': 'Created', 'status': 'True', 'reason': 'MXJobCreated', 'message': 'm', 'lastUpdateTime': '2020-01-01T00:00:00Z', 'lastTransitionTime': '2020-01-01T00:00:00Z'}], 'replicaStatuses': {'Worker': {'active': 1}}}
    b['spec']['ttlSecondsAfterFinished'] = 5; b['metadata']['labels'] = {'from': 'status'}; b['metadata']['annotations'] = {'from': 'status'}; b['metadata']['finalizers'] = ['example.com/f']
    st, s1, _ = r('replace status; spec, labels, annotations and finalizers changed too', 'PUT', p + '/a/status?fieldManager=st', b, note='only status is taken; generation stays')
    r('get after it', 'GET', p + '/a')
    r('replace status, stale', 'PUT', p + '/a/status', b)
    cur = setup('GET', p + '/a'); r('replace status, nothing changed', 'PUT', p + '/a/status', cur)
    c = copy.deepcopy(cur); c['metadata'].pop('resourceVersion'); c['status']['startTime'] = '2020-01-02T00:00:00Z'
    r('replace status, no resourceVersion', 'PUT', p + '/a/status', c)
    cur = setup('GET', p + '/a'); c = copy.deepcopy(cur); c.pop('status')
    r('replace status, status left out', 'PUT', p + '/a/status', c)
    r('merge patch status', 'PATCH', p + '/a/status', {'status': {'startTime': '2021-01-01T00:00:00Z'}, 'spec': {'ttlSecondsAfterFinished': 1}}, {'Content-Type': 'application/merge-patch+json'})
    r('merge patch the main resource with a status', 'PATCH', p + '/a', {'status': {'startTime': '2022-01-01T00:00:00Z'}}, {'Content-Type': 'application/merge-patch+json'})
    r('replace status of a missing object', 'PUT', p + '/nope/status', mx('nope'))
    r('delete status', 'DELETE', p + '/a/status')
    r('post status', 'POST', p + '/a/status', mx('a'))
    r('apply status', 'PATCH', p + '/a/status?fieldManager=ctrl&force=true', {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'a'}, 'status': {'startTime': '2023-01-01T00:00:00Z'}}, {'Content-Type': 'application/apply-patch+yaml'})

@group
def patch(r):
    p = fresh('vec-patch'); setup('POST', p, mx('a', labels={'l': '1'}))
    J, M, S = ({'Content-Type': f'application/{x}+json'} for x in ('json-patch', 'merge-patch', 'strategic-merge-patch'))
    r('json patch, replace', 'PATCH', p + '/a', [{'op': 'replace', 'path': '/spec/ttlSecondsAfterFinished', 'value': 5}], J)
    r('json patch, add label', 'PATCH', p + '/a', [{'op': 'add', 'path': '/metadata/labels/k', 'value': 'v'}], J)
    r('json patch, test passes', 'PATCH', p + '/a', [{'op': 'test', 'path': '/spec/ttlSecondsAfterFinished', 'value': 5}, {'op': 'replace', 'path': '/spec/ttlSecondsAfterFinished', 'value': 6}], J)
    r('json patch, test fails', 'PATCH', p + '/a', [{'op': 'test', 'path': '/spec/ttlSecondsAfterFinished', 'value': 5}], J)
    r('json patch, remove missing', 'PATCH', p + '/a', [{'op': 'remove', 'path': '/spec/nope'}], J)
    r('json patch, replace missing', 'PATCH', p + '/a', [{'op': 'replace', 'path': '/spec/nope', 'value': 1}], J)
    r('json patch, add under missing', 'PATCH', p + '/a', [{'op': 'add', 'path': '/spec/nope/x', 'value': 1}], J)
    r('json patch, copy and move', 'PATCH', p + '/a', [{'op': 'copy', 'from': '/metadata/labels/l', 'path': '/metadata/labels/l2'}, {'op': 'move', 'from': '/metadata/labels/l', 'path': '/metadata/labels/l3'}], J)
    r('json patch, array append', 'PATCH', p + '/a', [{'op': 'add', 'path': '/spec/mxReplicaSpecs/Worker/template/spec/containers/0/command/-', 'value': 'x'}], J)
    r('json patch, unknown op', 'PATCH', p + '/a', [{'op': 'frob', 'path': '/spec', 'value': 1}], J)
    r('json patch, not an array', 'PATCH', p + '/a', {'spec': {}}, J)
    r('json patch, empty array', 'PATCH', p + '/a', [], J)
    r('json patch, name changed', 'PATCH', p + '/a', [{'op': 'replace', 'path': '/metadata/name', 'value': 'b'}], J)
    r('json patch, over 10000 operations', 'PATCH', p + '/a', [{'op': 'test', 'path': '/kind', 'value': 'MXJob'}] * 10001, J, show_body='(10001 test operations)')
    r('merge patch', 'PATCH', p + '/a', {'spec': {'ttlSecondsAfterFinished': 7}}, M)
    r('merge patch, null removes', 'PATCH', p + '/a', {'metadata': {'labels': {'k': None}}}, M)
    r('merge patch, list replaced', 'PATCH', p + '/a', {'spec': {'mxReplicaSpecs': {'Worker': {'template': {'spec': {'containers': [{'name': 'mxnet', 'image': 'other'}]}}}}}}, M)
    r('merge patch, nothing changes', 'PATCH', p + '/a', {'spec': {'ttlSecondsAfterFinished': 7}}, M)
    r('merge patch, {}', 'PATCH', p + '/a', {}, M)
    r('merge patch, resourceVersion right', 'PATCH', p + '/a', {'metadata': {'resourceVersion': setup('GET', p + '/a')['metadata']['resourceVersion']}, 'spec': {'ttlSecondsAfterFinished': 8}}, M)
    r('merge patch, resourceVersion stale', 'PATCH', p + '/a', {'metadata': {'resourceVersion': '1'}, 'spec': {'ttlSecondsAfterFinished': 9}}, M)
    r('merge patch, uid wrong', 'PATCH', p + '/a', {'metadata': {'uid': '11111111-2222-3333-4444-555555555555'}}, M)
    r('merge patch, name changed', 'PATCH', p + '/a', {'metadata': {'name': 'b'}}, M)
    r('merge patch, namespace changed', 'PATCH', p + '/a', {'metadata': {'namespace': 'default'}}, M)
    r('merge patch, kind changed', 'PATCH', p + '/a', {'kind': 'Pod'}, M)
    r('merge patch, malformed JSON', 'PATCH', p + '/a', '{"spec":', M)
    r('merge patch, a list', 'PATCH', p + '/a', '[1]', M)
    r('merge patch, empty body', 'PATCH', p + '/a', '', M)
    r('merge patch, missing object', 'PATCH', p + '/nope', {'spec': {}}, M)
    r('merge patch, spec null', 'PATCH', p + '/a', {'spec': None}, M)
    r('strategic merge patch on a custom resource', 'PATCH', p + '/a', {'spec': {'ttlSecondsAfterFinished': 10}}, S)
    r('patch, Content-Type application/json', 'PATCH', p + '/a', {'spec': {}}, {'Content-Type': 'application/json'})
    r('patch, no Content-Type', 'PATCH', p + '/a', {'spec': {}}, {'Content-Type': None})
    r('patch, Content-Type with charset', 'PATCH', p + '/a', {'metadata': {'labels': {'cs': '1'}}}, {'Content-Type': 'application/merge-patch+json; charset=utf-8'})
    r('patch, force=true with merge patch', 'PATCH', p + '/a?force=true', {'metadata': {'labels': {'cs': '2'}}}, M)
    r('patch the collection', 'PATCH', p, {'spec': {}}, M)
    pod = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'cm'}, 'data': {'a': '1'}}
    setup('POST', '/api/v1/namespaces/vec-patch/configmaps', pod, ok=None)
    r('strategic merge patch on a built-in (configmap)', 'PATCH', '/api/v1/namespaces/vec-patch/configmaps/cm', {'data': {'b': '2'}}, S)

@group
def apply(r):
    p = fresh('vec-apply'); A = {'Content-Type': 'application/apply-patch+yaml'}
    base = {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'a', 'labels': {'l': '1'}}, 'spec': {'jobMode': 'MXTrain', 'ttlSecondsAfterFinished': 10, 'mxReplicaSpecs': {'Worker': {'replicas': 1, 'restartPolicy': 'Never', 'template': {'spec': {'containers': [{'name': 'mxnet', 'image': 'i:1'}]}}}}}}
    r('apply creates', 'PATCH', p + '/a?fieldManager=one', base, A)
    r('apply again, nothing changes', 'PATCH', p + '/a?fieldManager=one', base, A)
    b = copy.deepcopy(base); b['spec']['ttlSecondsAfterFinished'] = 11
    r('apply changes a field', 'PATCH', p + '/a?fieldManager=one', b, A)
    b2 = {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'a'}, 'spec': {'ttlSecondsAfterFinished': 12}}
    r('apply by another manager, conflict', 'PATCH', p + '/a?fieldManager=two', b2, A)
    b3 = copy.deepcopy(b2); b3['spec']['jobMode'] = 'MXTune'; b3['metadata']['labels'] = {'l': '2'}
    r('apply by another manager, three conflicts', 'PATCH', p + '/a?fieldManager=two', b3, A)
    r('apply by another manager, same value (shared)', 'PATCH', p + '/a?fieldManager=two', {**b2, 'spec': {'ttlSecondsAfterFinished': 11}}, A)
    r('apply by another manager, force', 'PATCH', p + '/a?fieldManager=two&force=true', b2, A)
    r('apply by the first manager again, conflict', 'PATCH', p + '/a?fieldManager=one', b, A)
    b4 = copy.deepcopy(base); del b4['spec']['ttlSecondsAfterFinished']; del b4['metadata']['labels']
    r('apply without fields once owned (removed or given up)', 'PATCH', p + '/a?fieldManager=one', b4, A)
    setup('PUT', p + '/a?fieldManager=updater', {**setup('GET', p + '/a'), **{}})
    cur = setup('GET', p + '/a'); cur['spec']['ttlSecondsAfterFinished'] = 50
    r('update takes the field from an applier', 'PUT', p + '/a?fieldManager=updater', cur)
    r('apply conflicts with an updater', 'PATCH', p + '/a?fieldManager=two', b2, A)
    r('apply, no fieldManager', 'PATCH', p + '/a', base, A)
    r('apply, YAML body', 'PATCH', p + '/y?fieldManager=one', 'apiVersion: kubeflow.org/v1\nkind: MXJob\nmetadata:\n  name: y\nspec:\n  jobMode: MXTrain\n  mxReplicaSpecs: {}\n', A)
    r('apply, managedFields set', 'PATCH', p + '/a?fieldManager=one', {**base, 'metadata': {'name': 'a', 'managedFields': [{'manager': 'x'}]}}, A)
    r('apply, name differs', 'PATCH', p + '/a?fieldManager=one', {**base, 'metadata': {'name': 'b'}}, A)
    r('apply, no name', 'PATCH', p + '/a?fieldManager=one&force=true', {**base, 'metadata': {}}, A)
    r('apply, no kind', 'PATCH', p + '/a?fieldManager=one', {k: v for k, v in base.items() if k != 'kind'}, A)
    r('apply, wrong kind', 'PATCH', p + '/a?fieldManager=one', {**base, 'kind': 'Pod'}, A)
    r('apply, resourceVersion stale', 'PATCH', p + '/a?fieldManager=one&force=true', {**base, 'metadata': {'name': 'a', 'resourceVersion': '1'}}, A)
    r('apply missing, uid set', 'PATCH', p + '/zz?fieldManager=one', {**base, 'metadata': {'name': 'zz', 'uid': '11111111-2222-3333-4444-555555555555'}}, A)
    r('apply missing, resourceVersion set', 'PATCH', p + '/zz?fieldManager=one', {**base, 'metadata': {'name': 'zz', 'resourceVersion': '5'}}, A)
    r('apply, duplicate key in YAML', 'PATCH', p + '/dup?fieldManager=one', 'apiVersion: kubeflow.org/v1\nkind: MXJob\nmetadata:\n  name: dup\nspec:\n  jobMode: a\n  jobMode: b\n  mxReplicaSpecs: {}\n', A)
    r('apply, force=abc', 'PATCH', p + '/a?fieldManager=one&force=abc', base, A)
    r('apply, dryRun', 'PATCH', p + '/dry?fieldManager=one&dryRun=All', {**base, 'metadata': {'name': 'dry'}}, A)
    r('apply in a missing namespace', 'PATCH', f'{G}/namespaces/no-such-ns/mxjobs/a?fieldManager=one', base, A)
    r('apply, malformed YAML', 'PATCH', p + '/a?fieldManager=one', 'a: [', A)
    r('apply, empty body', 'PATCH', p + '/a?fieldManager=one', '', A)
    r('get after all', 'GET', p + '/a')

@group
def dryrun(r):
    p = fresh('vec-dry')
    r('create, dryRun=All', 'POST', p + '?dryRun=All', small('a'))
    r('get after it', 'GET', p + '/a')
    r('create, dryRun=All, generateName', 'POST', p + '?dryRun=All', small(gen='g-'))
    setup('POST', p, small('a'))
    r('create duplicate, dryRun=All', 'POST', p + '?dryRun=All', small('a'))
    cur = setup('GET', p + '/a'); cur['spec']['ttlSecondsAfterFinished'] = 3
    r('replace, dryRun=All', 'PUT', p + '/a?dryRun=All', cur)
    r('merge patch, dryRun=All', 'PATCH', p + '/a?dryRun=All', {'spec': {'ttlSecondsAfterFinished': 4}}, {'Content-Type': 'application/merge-patch+json'})
    r('delete, dryRun=All', 'DELETE', p + '/a?dryRun=All')
    r('delete, dryRun in the body', 'DELETE', p + '/a', {'apiVersion': 'v1', 'kind': 'DeleteOptions', 'dryRun': ['All']})
    r('deletecollection, dryRun=All', 'DELETE', p + '?dryRun=All')
    r('get after all', 'GET', p + '/a')
    r('create, dryRun=Some', 'POST', p + '?dryRun=Some', small('b'))
    r('create, dryRun empty', 'POST', p + '?dryRun=', small('b'))

@group
def fieldvalidation(r):
    p = fresh('vec-fv')
    unk = lambda n: {**small(n), 'bogus': 1, 'metadata': {'name': n, 'bogusMeta': 'x'}}
    dup = lambda n: '{"apiVersion":"kubeflow.org/v1","kind":"MXJob","metadata":{"name":"%s","name":"%s"},"spec":{"jobMode":"a","jobMode":"b","mxReplicaSpecs":{}},"spec":{"jobMode":"c","mxReplicaSpecs":{}}}' % (n, n)
    deep = lambda n: {**small(n), 'spec': {**small(n)['spec'], 'notAField': {'x': 1}, 'runPolicy': {'cleanPodPolicy': 'All', 'nope': 1}}}
    for v in ('Strict', 'Warn', 'Ignore', None, 'Bogus', ''):
        q = '' if v is None else '?fieldValidation=' + v; t = v if v is not None else 'not given'
        r(f'create, unknown top-level and metadata fields, fieldValidation {t!r}', 'POST', p + q, unk('u-' + str(v or ('empty' if v == '' else 'none')).lower()))
        r(f'create, duplicate fields, fieldValidation {t!r}', 'POST', p + q, dup('d-' + str(v or ('empty' if v == '' else 'none')).lower()))
        r(f'create, unknown fields in spec, fieldValidation {t!r}', 'POST', p + q, deep('s-' + str(v or ('empty' if v == '' else 'none')).lower()))
    setup('POST', p, small('a')); cur = setup('GET', p + '/a')
    r('replace, unknown field, Strict', 'PUT', p + '/a?fieldValidation=Strict', {**cur, 'bogus': 1})
    r('replace, unknown field, Warn', 'PUT', p + '/a?fieldValidation=Warn', {**cur, 'bogus': 1})
    M = {'Content-Type': 'application/merge-patch+json'}; J = {'Content-Type': 'application/json-patch+json'}; A = {'Content-Type': 'application/apply-patch+yaml'}
    r('merge patch, unknown field, Strict', 'PATCH', p + '/a?fieldValidation=Strict', {'bogus': 1}, M)
    r('merge patch, unknown field, Warn', 'PATCH', p + '/a?fieldValidation=Warn', {'bogus': 1}, M)
    r('merge patch, duplicate field, Strict', 'PATCH', p + '/a?fieldValidation=Strict', '{"spec":{"ttlSecondsAfterFinished":1,"ttlSecondsAfterFinished":2}}', M)
    r('merge patch, duplicate field, Warn', 'PATCH', p + '/a?fieldValidation=Warn', '{"spec":{"ttlSecondsAfterFinished":1,"ttlSecondsAfterFinished":2}}', M)
    r('json patch, unknown field, Strict', 'PATCH', p + '/a?fieldValidation=Strict', [{'op': 'add', 'path': '/bogus', 'value': 1}], J)
    r('json patch, unknown key in an operation, Strict', 'PATCH', p + '/a?fieldValidation=Strict', [{'op': 'add', 'path': '/metadata/labels', 'value': {'a': 'b'}, 'extra': 1}], J)
    r('apply, unknown field, Strict', 'PATCH', p + '/a?fieldValidation=Strict&fieldManager=m', {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'a'}, 'bogus': 1}, A)
    r('apply, unknown field, default', 'PATCH', p + '/a?fieldManager=m', {'apiVersion': 'kubeflow.org/v1', 'kind': 'MXJob', 'metadata': {'name': 'a'}, 'bogus': 1}, A)
    r('create, field name in the wrong case, Strict', 'POST', p + '?fieldValidation=Strict', '{"apiVersion":"kubeflow.org/v1","Kind":"MXJob","kind":"MXJob","metadata":{"name":"cs"},"spec":{"mxReplicaSpecs":{},"jobMode":"x"}}')

@group
def delete(r):
    p = fresh('vec-del')
    mk = lambda n, **k: setup('POST', p, small(n, **k))
    D = lambda **k: {'apiVersion': 'v1', 'kind': 'DeleteOptions', **k}
    mk('a'); r('delete', 'DELETE', p + '/a')
    r('delete again', 'DELETE', p + '/a')
    for pp in ('Background', 'Foreground', 'Orphan', 'Bogus'):
        o = mk('p-' + pp.lower()); r('delete, propagationPolicy=' + pp + ' (query)', 'DELETE', p + '/p-' + pp.lower() + '?propagationPolicy=' + pp)
        st, _, b, _ = raw('GET', p + '/p-' + pp.lower())
        r('get after it', 'GET', p + '/p-' + pp.lower())
    mk('b1'); r('delete, propagationPolicy in the body', 'DELETE', p + '/b1', D(propagationPolicy='Background'))
    mk('b2'); r('delete, orphanDependents', 'DELETE', p + '/b2', D(orphanDependents=True))
    mk('b3'); r('delete, orphanDependents and propagationPolicy', 'DELETE', p + '/b3', D(orphanDependents=True, propagationPolicy='Background'))
    o = mk('c'); r('delete, precondition uid wrong', 'DELETE', p + '/c', D(preconditions={'uid': '11111111-2222-3333-4444-555555555555'}))
    r('delete, precondition resourceVersion wrong', 'DELETE', p + '/c', D(preconditions={'resourceVersion': '1'}))
    r('delete, preconditions right', 'DELETE', p + '/c', D(preconditions={'uid': o['metadata']['uid'], 'resourceVersion': o['metadata']['resourceVersion']}))
    mk('g'); r('delete, gracePeriodSeconds=30', 'DELETE', p + '/g?gracePeriodSeconds=30')
    mk('g0'); r('delete, gracePeriodSeconds=0', 'DELETE', p + '/g0?gracePeriodSeconds=0')
    mk('gn'); r('delete, gracePeriodSeconds=-5', 'DELETE', p + '/gn?gracePeriodSeconds=-5')
    mk('gx'); r('delete, gracePeriodSeconds=abc', 'DELETE', p + '/gx?gracePeriodSeconds=abc')
    mk('k'); r('delete, DeleteOptions of the wrong kind', 'DELETE', p + '/k', {'apiVersion': 'v1', 'kind': 'Pod'})
    r('delete, malformed body', 'DELETE', p + '/k', '{"a":')
    r('delete, DeleteOptions without kind', 'DELETE', p + '/k', {'gracePeriodSeconds': 0})
    mk('k2'); r('delete, DeleteOptions apiVersion kubeflow.org/v1', 'DELETE', p + '/k2', {'apiVersion': 'kubeflow.org/v1', 'kind': 'DeleteOptions'})
    b = small('f'); b['metadata']['finalizers'] = ['example.com/hold']; setup('POST', p, b)
    r('delete with a finalizer', 'DELETE', p + '/f')
    r('get while terminating', 'GET', p + '/f')
    r('delete while terminating', 'DELETE', p + '/f')
    r('create the name while terminating', 'POST', p, small('f'))
    cur = setup('GET', p + '/f'); c = copy.deepcopy(cur); c['metadata']['finalizers'].append('example.com/new')
    r('add a finalizer while terminating', 'PUT', p + '/f', c)
    c = copy.deepcopy(cur); c['spec']['ttlSecondsAfterFinished'] = 1
    r('change spec while terminating', 'PUT', p + '/f', c)
    cur = setup('GET', p + '/f'); c = copy.deepcopy(cur); c['metadata'].pop('deletionTimestamp'); c['metadata']['labels'] = {'x': '1'}
    r('drop deletionTimestamp by replace', 'PUT', p + '/f', c)
    cur = setup('GET', p + '/f'); c = copy.deepcopy(cur); c['metadata']['finalizers'] = []
    r('remove the last finalizer by replace', 'PUT', p + '/f', c)
    r('get after it', 'GET', p + '/f')
    b = small('f2'); b['metadata']['finalizers'] = ['example.com/hold']; setup('POST', p, b)
    r('delete Foreground with a finalizer', 'DELETE', p + '/f2?propagationPolicy=Foreground')
    r('delete Background over it', 'DELETE', p + '/f2?propagationPolicy=Background')
    r('remove finalizers by merge patch', 'PATCH', p + '/f2', {'metadata': {'finalizers': None}}, {'Content-Type': 'application/merge-patch+json'})
    r('get after it', 'GET', p + '/f2')
    for n in ('x', 'y', 'z'): mk(n, labels={'grp': 'q' if n != 'z' else 'other'})
    r('deletecollection, labelSelector', 'DELETE', p + '?labelSelector=grp%3Dq')
    r('list after it', 'GET', p)
    r('deletecollection, no match', 'DELETE', p + '?labelSelector=grp%3Dnone')
    r('deletecollection, fieldSelector', 'DELETE', p + '?fieldSelector=metadata.name%3Dz')
    for n in ('x', 'y'): mk(n)
    r('deletecollection, limit=1', 'DELETE', p + '?limit=1')
    r('deletecollection', 'DELETE', p)
    r('deletecollection of an empty namespace', 'DELETE', p)
    r('deletecollection, all namespaces', 'DELETE', f'{G}/mxjobs')
    r('deletecollection in a missing namespace', 'DELETE', f'{G}/namespaces/no-such-ns/mxjobs')
    mk('t'); r('delete, Accept Table', 'DELETE', p + '/t', headers={'Accept': 'application/json;as=Table;v=v1;g=meta.k8s.io'})

class W(threading.Thread):
    """A watch in a thread; keeps each line with the time it came."""
    def __init__(self, path, headers=None, token='admin-token'):
        super().__init__(daemon=True); self.path = path; self.h = headers or {}; self.lines = []; self.end = None; self.status = None; self.hd = None; self.token = token; self.ready = threading.Event()
        self.start(); self.ready.wait(10)
    def run(self):
        c = conn(); c.timeout = 130
        try:
            c.request('GET', self.path, headers={'Accept': JSONCT, 'Authorization': 'Bearer ' + TOKENS.get(self.token, self.token), **self.h})
            r = c.getresponse(); self.status = r.status; self.hd = dict(r.getheaders()); self.ready.set(); t0 = time.time()
            while True:
                l = r.readline()
                if not l: self.end = 'stream ended by the server after %.1f s' % (time.time() - t0); break
                self.lines.append(l.decode())
        except Exception as e: self.end = 'client: ' + type(e).__name__
        self.ready.set()

def compared(name):
    """Whether the recorded answers have this row of the watch group."""
    if not ROWS: return True
    return any(row['name'].split(' #')[0] == name for row in json.load(open(os.path.join(ROWS, 'watch.json'))))

def rec_watch(r, name, path, act=None, wait=1.0, headers=None, trim=True, note=None):
    if not compared(name):
        if act: act()
        return
    w = W(path, headers)
    time.sleep(0.3)
    if act: act()
    w.join(wait)
    ev = []
    for l in list(w.lines):
        try: e = json.loads(l)
        except Exception: ev.append(l); continue
        o = e.get('object', {}) if isinstance(e, dict) else {}
        if trim and isinstance(o, dict) and o.get('kind') == 'MXJob' and 'name' in o.get('metadata', {}):
            m = {k: o['metadata'][k] for k in ('name', 'resourceVersion', 'generation', 'labels', 'annotations', 'deletionTimestamp') if k in o['metadata']}
            e = {**e, 'object': {'apiVersion': o['apiVersion'], 'kind': o['kind'], 'metadata': m}}
        ev.append(e)
    r.rows.append({'name': name, 'method': 'GET', 'path': path, 'headers': {'Accept': JSONCT, 'Authorization': 'Bearer <admin>', **(headers or {})}, 'body': None, 'status': w.status, 'response_headers': w.hd, 'response': ev, 'end': w.end or 'still open after %.1f s' % wait, **({'note': note} if note else {})})

@group
def watch(r):
    p = fresh('vec-watch'); M = {'Content-Type': 'application/merge-patch+json'}
    setup('POST', p, small('a', labels={'l': '1'})); setup('POST', p, small('b'))
    rv = setup('GET', p)['metadata']['resourceVersion']
    def act():
        setup('POST', p, small('c')); setup('PATCH', p + '/c', {'metadata': {'labels': {'x': '1'}}}, M); setup('DELETE', p + '/c')
    rec_watch(r, 'watch from a list: create, change, delete (whole objects)', p + '?watch=1&resourceVersion=' + rv, act, trim=False, note='the DELETED event carries the object as it was, with a new resourceVersion')
    rec_watch(r, 'watch without resourceVersion (starts with ADDED for what is there)', p + '?watch=true', act)
    rec_watch(r, 'watch resourceVersion=0', p + '?watch=1&resourceVersion=0', act)
    rec_watch(r, 'watch of an old resourceVersion (replays what came after)', p + '?watch=1&resourceVersion=' + rv)
    rec_watch(r, 'watch resourceVersion=1 (too old)', p + '?watch=1&resourceVersion=1', note='either 410 inside the stream or replay, by what the server still has')
    rec_watch(r, 'watch resourceVersion far ahead', p + '?watch=1&resourceVersion=' + str(int(rv) + 10000000), wait=5)
    rec_watch(r, 'watch resourceVersion=abc', p + '?watch=1&resourceVersion=abc')
    rec_watch(r, 'watch timeoutSeconds=1', p + '?watch=1&timeoutSeconds=1&resourceVersion=' + rv, wait=4)
    rec_watch(r, 'watch with bookmarks, timeoutSeconds=3', p + '?watch=1&allowWatchBookmarks=true&timeoutSeconds=3&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], wait=5, trim=False, note='bookmarks come about once a minute and shortly before a timeout')
    rec_watch(r, 'watch with bookmarks, 70 s', p + '?watch=1&allowWatchBookmarks=true&timeoutSeconds=70&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], wait=75, trim=False)
    rec_watch(r, 'watch sendInitialEvents=true', p + '?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan', act, trim=False, wait=2)
    rec_watch(r, 'watch sendInitialEvents=true, no resourceVersionMatch', p + '?watch=1&sendInitialEvents=true&allowWatchBookmarks=true')
    rec_watch(r, 'watch sendInitialEvents=true, no bookmarks', p + '?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan')
    rec_watch(r, 'watch sendInitialEvents=false', p + '?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=' + rv, act)
    rec_watch(r, 'watch resourceVersionMatch without sendInitialEvents', p + '?watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=' + rv)
    r('list with sendInitialEvents', 'GET', p + '?sendInitialEvents=true&resourceVersionMatch=NotOlderThan')
    rec_watch(r, 'watch with a labelSelector: object enters and leaves the selection', p + '?watch=1&labelSelector=x%3D1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'],
        lambda: (setup('PATCH', p + '/b', {'metadata': {'labels': {'x': '1'}}}, M), setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '1'}}}, M), setup('PATCH', p + '/b', {'metadata': {'labels': {'x': '2'}}}, M)), note='enters: ADDED; changes: MODIFIED; leaves: DELETED')
    rec_watch(r, 'watch one by fieldSelector', p + '?watch=1&fieldSelector=metadata.name%3Db&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'],
        lambda: (setup('PATCH', p + '/a', {'metadata': {'annotations': {'n': '1'}}}, M), setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '2'}}}, M)))
    rec_watch(r, 'watch on an item path', p + '/b?watch=1', lambda: setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '3'}}}, M), note='?watch on a get')
    rec_watch(r, 'deprecated /watch/ path, collection', f'{G}/watch/namespaces/vec-watch/mxjobs?resourceVersion=0')
    rec_watch(r, 'deprecated /watch/ path, item', f'{G}/watch/namespaces/vec-watch/mxjobs/b?resourceVersion=0')
    rec_watch(r, 'watch as Table', p + '?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: (setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '4'}}}, M), setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '5'}}}, M)), headers={'Accept': 'application/json;as=Table;v=v1;g=meta.k8s.io'}, trim=False, note='column definitions come with the first event only')
    rec_watch(r, 'watch as PartialObjectMetadata', p + '?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '6'}}}, M), headers={'Accept': 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'}, trim=False)
    rec_watch(r, 'watch, Accept application/json;stream=watch', p + '?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '7'}}}, M), headers={'Accept': 'application/json;stream=watch'})
    rec_watch(r, 'watch, Accept yaml', p + '?watch=1&resourceVersion=0', headers={'Accept': 'application/yaml'})
    rec_watch(r, 'watch, missing namespace', f'{G}/namespaces/no-such-ns/mxjobs?watch=1')
    rec_watch(r, 'watch, limit and continue', p + '?watch=1&limit=1&resourceVersion=0')
    rec_watch(r, 'watch, watch=false is a list', p + '?watch=false&limit=1', trim=True)
    rec_watch(r, 'watch, watch=abc', p + '?watch=abc&limit=1')
    rec_watch(r, 'watch, invalid labelSelector', p + '?watch=1&labelSelector=app+in+(')
    b = small('f'); b['metadata']['finalizers'] = ['example.com/hold']
    rec_watch(r, 'watch a delete with a finalizer', p + '?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: (setup('POST', p, b), setup('DELETE', p + '/f'), setup('PATCH', p + '/f', {'metadata': {'finalizers': None}}, M)), note='ADDED, MODIFIED (deletionTimestamp), then DELETED; the patch that removes the last finalizer makes no MODIFIED')
    rec_watch(r, 'watch a no-op replace (no event)', p + '?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: setup('PUT', p + '/b', setup('GET', p + '/b')))
    rec_watch(r, 'watch all namespaces', f'{G}/mxjobs?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: setup('PATCH', p + '/b', {'metadata': {'annotations': {'n': '8'}}}, M))
    rec_watch(r, 'watch deletecollection', p + '?watch=1&resourceVersion=' + setup('GET', p)['metadata']['resourceVersion'], lambda: setup('DELETE', p))

@group
def errors(r):
    p = fresh('vec-err'); setup('POST', p, small('a'))
    r('no credentials (anonymous)', 'GET', p, token=None)
    r('unknown token', 'GET', p, token='bogus-token')
    r('unknown token on /version', 'GET', '/version', token='bogus-token')
    r('no credentials on /healthz', 'GET', '/healthz', token=None)
    r('no credentials on /version', 'GET', '/version', token=None)
    r('no credentials on /apis', 'GET', '/apis', token=None)
    r('Basic credentials', 'GET', p, token=None, headers={'Authorization': 'Basic YTpi'})
    r('empty bearer', 'GET', p, token=None, headers={'Authorization': 'Bearer '})
    r('forbidden: list', 'GET', p, token='limited-token')
    r('forbidden: get', 'GET', p + '/a', token='limited-token')
    r('forbidden: create', 'POST', p, small('z'), token='limited-token')
    r('forbidden: replace', 'PUT', p + '/a', small('a'), token='limited-token')
    r('forbidden: patch', 'PATCH', p + '/a', {}, {'Content-Type': 'application/merge-patch+json'}, token='limited-token')
    r('forbidden: delete', 'DELETE', p + '/a', token='limited-token')
    r('forbidden: deletecollection', 'DELETE', p, token='limited-token')
    r('forbidden: watch', 'GET', p + '?watch=1', token='limited-token')
    r('forbidden: all namespaces', 'GET', f'{G}/mxjobs', token='limited-token')
    r('forbidden: status', 'PUT', p + '/a/status', small('a'), token='limited-token')
    r('forbidden: unknown resource', 'GET', f'{G}/namespaces/vec-err/nopes', token='limited-token')
    r('forbidden: path /metrics', 'GET', '/metrics', token='limited-token')
    r('forbidden: table asked', 'GET', p, token='limited-token', headers={'Accept': 'application/json;as=Table;v=v1;g=meta.k8s.io'})
    r('forbidden: apply that creates', 'PATCH', p + '/new?fieldManager=m', small('new'), {'Content-Type': 'application/apply-patch+yaml'}, token='limited-token')
    r('impersonation', 'GET', p, headers={'Impersonate-User': 'nobody'})
    r('impersonation forbidden', 'GET', p, headers={'Impersonate-User': 'root'}, token='limited-token')
    r('malformed JSON', 'POST', p, '{"apiVersion":')
    r('malformed JSON (bad token)', 'POST', p, '{"apiVersion":"kubeflow.org/v1","kind":"MXJob",}')
    r('JSON with trailing garbage', 'POST', p, json.dumps(small('trail')) + ' xyz')
    r('not UTF-8', 'POST', p, b'{"apiVersion":"kubeflow.org/v1","kind":"MXJob","metadata":{"name":"u","annotations":{"a":"\xff\xfe"}},"spec":{"jobMode":"x","mxReplicaSpecs":{}}}')
    r('metadata.name a number', 'POST', p, {**small(), 'metadata': {'name': 5}})
    r('labels a list', 'POST', p, {**small(), 'metadata': {'name': 'x', 'labels': []}})
    r('unsupported media type: text/plain', 'POST', p, json.dumps(small('m')), {'Content-Type': 'text/plain'})
    r('unsupported media type: form', 'POST', p, 'a=b', {'Content-Type': 'application/x-www-form-urlencoded'})
    r('unsupported media type: xml', 'PUT', p + '/a', '<a/>', {'Content-Type': 'application/xml'})
    r('unsupported media type: protobuf for a custom resource', 'POST', p, 'k8s\0', {'Content-Type': 'application/vnd.kubernetes.protobuf'})
    r('no Content-Type (JSON assumed)', 'POST', p, json.dumps(small('noct')), {'Content-Type': None})
    r('Content-Type application/json; charset=utf-8', 'POST', p, json.dumps(small('ctcs')), {'Content-Type': 'application/json; charset=utf-8'})
    r('body over 3 MiB', 'POST', p, mx('big', spec={'jobMode': 'x', 'mxReplicaSpecs': {}, 'pad': 'x' * (3 * 1024 * 1024)}), show_body='(an MXJob with 3 MiB of padding in spec.pad)')
    r('body of 2 MiB (over the store\'s limit)', 'POST', p, mx('big2', spec={'jobMode': 'x', 'mxReplicaSpecs': {}, 'pad': 'x' * (2 * 1024 * 1024)}), show_body='(an MXJob with 2 MiB of padding in spec.pad)')
    r('body of 1 MiB', 'POST', p, mx('big1', spec={'jobMode': 'x', 'mxReplicaSpecs': {}, 'pad': 'x' * (1024 * 1024)}), show_body='(an MXJob with 1 MiB of padding in spec.pad)', trim=lambda x: {**x, 'spec': '(cut)'} if isinstance(x, dict) and 'spec' in x else x)
    r('deeply nested JSON (20000)', 'POST', p, '{"apiVersion":"kubeflow.org/v1","kind":"MXJob","metadata":{"name":"deep"},"spec":' + '{"a":' * 20000 + '1' + '}' * 20000 + '}', show_body='(spec nested 20000 deep)', trim=lambda x: x if len(json.dumps(x)) < 4000 else '(long)')
    for m in ('POST', 'PUT', 'PATCH', 'TRACE', 'FOO', 'CONNECT'):
        try: r('method on an item: ' + m, m, p + '/a', '{}' if m in ('POST',) else None)
        except Exception as e: r.rows.append({'name': 'method on an item: ' + m, 'method': m, 'path': p + '/a', 'headers': {}, 'body': None, 'status': None, 'response': 'no answer: ' + type(e).__name__})
    for m in ('PUT', 'PATCH', 'FOO'): r('method on a collection: ' + m, m, p)
    r('method on /version: POST', 'POST', '/version', '{}')
    r('method on /apis: DELETE', 'DELETE', '/apis')
    r('method on /healthz: POST', 'POST', '/healthz')
    r('unknown resource', 'GET', f'{G}/namespaces/vec-err/nopes')
    r('unknown resource, one', 'GET', f'{G}/namespaces/vec-err/nopes/a')
    r('unknown version', 'GET', '/apis/kubeflow.org/v9/namespaces/vec-err/mxjobs')
    r('unknown group', 'GET', '/apis/nope.example.com/v1/namespaces/vec-err/things')
    r('unknown path', 'GET', '/nope')
    r('unknown path under /api', 'GET', '/api/v9')
    r('resource by its kind', 'GET', f'{G}/namespaces/vec-err/MXJob')
    r('resource in upper case', 'GET', f'{G}/namespaces/vec-err/MXJOBS')
    r('path with ..', 'GET', f'{G}/namespaces/vec-err/../vec-err/mxjobs')
    r('percent-encoded name', 'GET', p + '/%61')
    r('name with a percent-encoded slash', 'GET', p + '/a%2Fb')
    r('too long a path', 'GET', p + '/' + 'a' * 9000, trim=lambda x: x if len(json.dumps(x)) < 2000 else '(long)')
    r('invalid namespace in the path', 'GET', f'{G}/namespaces/Bad_NS/mxjobs')

@group
def discovery(r):
    fresh('vec-disc')
    keep = lambda n: lambda x: {**x, 'groups': [g for g in x['groups'] if g['name'] in n]} if isinstance(x, dict) and 'groups' in x else x
    r('/version', 'GET', '/version', text=True)
    r('/version/', 'GET', '/version/')
    for h in ('/healthz', '/livez', '/readyz', '/healthz?verbose', '/livez?verbose', '/readyz?verbose', '/readyz?verbose&exclude=etcd', '/readyz?exclude=nope', '/healthz/ping', '/livez/ping', '/readyz/etcd', '/healthz/nope', '/readyz/shutdown'):
        r(h, 'GET', h, headers={'Accept': '*/*'}, text=True)
    r('/healthz, HEAD', 'HEAD', '/healthz')
    r('/', 'GET', '/', trim=lambda x: {'paths': [q for q in x['paths'] if 'kubeflow' in q or q.count('/') == 1]} if isinstance(x, dict) and 'paths' in x else x, note='cut to the top-level and kubeflow.org paths')
    r('/api', 'GET', '/api')
    r('/api/v1', 'GET', '/api/v1', trim=lambda x: {**x, 'resources': [q for q in x['resources'] if q['name'].split('/')[0] in ('pods', 'services', 'events', 'namespaces', 'configmaps')]} if 'resources' in x else x, note='cut to pods, services, events, namespaces and configmaps')
    r('/apis', 'GET', '/apis', trim=keep(('kubeflow.org', 'apps', 'coordination.k8s.io', 'apiextensions.k8s.io')), note='cut to four groups')
    r('/apis, pretty', 'GET', '/apis/kubeflow.org?pretty=true', text=True)
    r('/apis/', 'GET', '/apis/', trim=keep(('kubeflow.org',)))
    r('/apis/kubeflow.org', 'GET', '/apis/kubeflow.org')
    r('/apis/kubeflow.org/', 'GET', '/apis/kubeflow.org/')
    r('/apis/kubeflow.org/v1', 'GET', G)
    r('/apis/kubeflow.org/v1/', 'GET', G + '/')
    r('/apis/kubeflow.org/v9', 'GET', '/apis/kubeflow.org/v9')
    r('/apis/nope.example.com', 'GET', '/apis/nope.example.com')
    r('/apis/kubeflow.org/v1, yaml', 'GET', G, headers={'Accept': 'application/yaml'}, text=True)
    AGG = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
    cut = lambda x: {**x, 'items': [i for i in x['items'] if i['metadata'].get('name', '') in ('kubeflow.org', 'coordination.k8s.io')]} if isinstance(x, dict) and x.get('kind') == 'APIGroupDiscoveryList' and len(x['items']) > 1 else x
    r('/apis aggregated discovery', 'GET', '/apis', headers={'Accept': AGG}, trim=cut, note='cut to two groups')
    r('/apis aggregated discovery, what kubectl sends', 'GET', '/apis', headers={'Accept': AGG + ',application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json'}, trim=cut)
    r('/apis aggregated discovery v2beta1', 'GET', '/apis', headers={'Accept': AGG.replace('v=v2', 'v=v2beta1')}, trim=cut)
    st, b, hd = r('/api aggregated discovery', 'GET', '/api', headers={'Accept': AGG}, trim=lambda x: '(cut)')
    et = raw('GET', '/apis', {'Accept': AGG})[1]; et = dict(et).get('Etag') or dict(et).get('ETag')
    r('/apis aggregated discovery, If-None-Match', 'GET', '/apis', headers={'Accept': AGG, 'If-None-Match': et or ''})
    r('/openapi/v2', 'GET', '/openapi/v2', trim=lambda x: {'swagger': x['swagger'], 'info': x['info'], 'paths': {k: v for k, v in x['paths'].items() if 'mxjobs' in k and 'namespaces' in k and k.endswith('{name}')}, 'definitions': {k: v for k, v in x['definitions'].items() if 'MXJob' in k}} if isinstance(x, dict) and 'swagger' in x else str(x)[:500], note='cut to the MXJob item path and definitions')
    r('/openapi/v2, protobuf', 'GET', '/openapi/v2', headers={'Accept': 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'}, trim=lambda x: '(binary, cut)')
    r('/openapi/v3', 'GET', '/openapi/v3', trim=lambda x: {'paths': {k: v for k, v in x['paths'].items() if 'kubeflow' in k or k in ('api', 'apis', 'version', 'api/v1')}} if isinstance(x, dict) and 'paths' in x else x)
    r('/openapi/v3/apis/kubeflow.org/v1', 'GET', '/openapi/v3/apis/kubeflow.org/v1', trim=lambda x: {k: (v if k != 'components' else {'schemas': sorted(v['schemas'])}) if k != 'paths' else sorted(v) for k, v in x.items()} if isinstance(x, dict) else x, note='paths and schemas cut to their names')
    r('/openapi/v3 of an unknown group', 'GET', '/openapi/v3/apis/nope/v1')
    r('CRD', 'GET', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mxjobs.kubeflow.org')

@group
def bookmarks(r):
    # takes 75 s; something the watch does not select must change meanwhile, else there is nothing to mark
    p = fresh('vec-bm'); M = {'Content-Type': 'application/merge-patch+json'}
    setup('POST', p, small('a')); setup('POST', p, small('b'))
    rv = setup('GET', p)['metadata']['resourceVersion']
    ws = []
    for q, n in (('allowWatchBookmarks=true&', 'bookmarks asked for'), ('', 'bookmarks not asked for')):
        ws.append((n, threading.Thread(target=rec_watch, args=(r, 'watch of b for 70 s while only a changes, ' + n, p + '?watch=1&' + q + 'fieldSelector=metadata.name%3Db&timeoutSeconds=70&resourceVersion=' + rv), kwargs={'wait': 75, 'trim': False})))
    for n, t in ws: t.start()
    for i in range(6): time.sleep(10); setup('PATCH', p + '/a', {'metadata': {'annotations': {'i': str(i)}}}, M)
    for n, t in ws: t.join()

@group
def expired(r):
    # needs COMPACT_CMD in the environment: a command that compacts the store's history up to now
    import subprocess
    if not os.environ.get('COMPACT_CMD'): return
    p = fresh('vec-exp'); M = {'Content-Type': 'application/merge-patch+json'}
    for n in 'abcd': setup('POST', p, small(n))
    l = setup('GET', p + '?limit=2'); rv = l['metadata']['resourceVersion']; c = l['metadata']['continue']
    for i in range(5): setup('PATCH', p + '/a', {'metadata': {'annotations': {'i': str(i)}}}, M)
    subprocess.run(os.environ['COMPACT_CMD'], shell=True, check=True)
    names = lambda x: x if not isinstance(x, dict) or 'items' not in x else {**x, 'items': [{'metadata': {'name': i['metadata']['name']}} for i in x['items']]}
    st, b, _ = r('list, continue after its snapshot was compacted', 'GET', p + '?limit=2&continue=' + quote(c))
    c2 = b.get('metadata', {}).get('continue')
    if c2: r('list, the continue given in the 410 answer', 'GET', p + '?limit=2&continue=' + quote(c2), trim=names)
    r('list, resourceVersion compacted, Exact', 'GET', p + '?resourceVersionMatch=Exact&resourceVersion=' + rv)
    r('list, resourceVersion compacted, limit (no match given)', 'GET', p + '?limit=2&resourceVersion=' + rv, trim=names)
    r('list, resourceVersion compacted, NotOlderThan', 'GET', p + '?resourceVersionMatch=NotOlderThan&resourceVersion=' + rv, trim=names)

@group
def gzipped(r):
    p = fresh('vec-gzip'); n = 200
    for i in range(n): setup('POST', p, mx('g-%03d' % i))
    cut = lambda x: {**x, 'items': '(%d items)' % len(x['items'])} if isinstance(x, dict) and 'items' in x else x
    r('list of 200, Accept-Encoding gzip', 'GET', p, headers={'Accept-Encoding': 'gzip'}, trim=cut)
    r('list of 200, Accept-Encoding gzip, deflate, br', 'GET', p, headers={'Accept-Encoding': 'gzip, deflate, br'}, trim=cut)
    r('list of 200, gzip;q=0', 'GET', p, headers={'Accept-Encoding': 'gzip;q=0'}, trim=cut)
    r('list of 200, no Accept-Encoding', 'GET', p, trim=cut)
    r('list limit=20, gzip (under 128 KiB)', 'GET', p + '?limit=20', headers={'Accept-Encoding': 'gzip'}, trim=cut)
    r('one, gzip (small)', 'GET', p + '/g-000', headers={'Accept-Encoding': 'gzip'})
    r('error, gzip', 'GET', p + '/nope', headers={'Accept-Encoding': 'gzip'})
    r('gzip request body', 'POST', p, gzip.compress(json.dumps(mx('gz')).encode()), {'Content-Encoding': 'gzip'}, show_body='(gzip of an MXJob)')
    setup('DELETE', p)

if DEFINITION: define(DEFINITION)
for name, f in GROUPS.items():
    if ONLY and name not in ONLY: continue
    r = Rec()
    try: f(r)
    except Exception as e:
        import traceback; traceback.print_exc()
    if not r.rows: continue
    seen = {}
    for row in r.rows:  # a repeated name gets a number, so that rows can be told apart
        k = seen[row['name']] = seen.get(row['name'], 0) + 1
        if k > 1: row['name'] += f' #{k}'
    json.dump(r.rows, open(os.path.join(OUT, name + '.json'), 'w'), indent=1, ensure_ascii=False)
    print(name, len(r.rows))
