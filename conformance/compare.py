#!/usr/bin/env python3
"""Compares what a server answered (record.py's output) with the recorded answers of a real Kubernetes
API server. Usage:

    record.py https://127.0.0.1:PORT OUT [GROUP ...]        # asks the server under test
    compare.py expected OUT [--deviations FILE] [--verbose] [--json FILE]

Prints a row per group (rows compared, status equal, body equal, message equal) and each row that differs.
Exit 0 when every row that differs in status or body is named in the deviations file
({"group: row name": "why"}) and no named row agrees, 1 otherwise; groups that were not asked are left out. Timestamps, uids, resource versions, generated suffixes and
selfLink are normalised on both sides; error messages are compared apart, since their wording matters less.
"""
import argparse, json, os, re, sys

TIMES = {'creationTimestamp', 'deletionTimestamp', 'time', 'lastTransitionTime', 'lastUpdateTime', 'renewTime', 'acquireTime'}
DROP = {'selfLink', 'remainingItemCount'}
HEADERS = ('content-type', 'warning', 'allow', 'retry-after', 'content-encoding')
UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')
STAMP = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ')
GENERATED = re.compile(r'(gen-|Bad_|g{20,}-?|\bg-)[a-z0-9]{5}\b')
HASH = re.compile(r'\bhash=[0-9A-F]+')
# In answers kept as text: what the contract adds to every MXJob, and versions too short to look like numbers of ours.
SELF_LINK = re.compile(r',\s*"selfLink": ?"[^"]*"|\n *selfLink: \S+')
CONTINUE = re.compile(r'("?continue"?: ?)"?[A-Za-z0-9_=-]{16,}"?')
AGE = re.compile(r'"\ds"')
ALONE = re.compile(r'\ds')  # the same as a cell of its own
VERSION = re.compile(r'("?resourceVersion"?: ?)"\d+"')


def text(s):
    s = AGE.sub('"<age>"', CONTINUE.sub(r'\1<continue>', s))
    s = VERSION.sub(r'\1"<rv>"', SELF_LINK.sub('', HASH.sub('hash=<hash>', s)))
    s = STAMP.sub('<time>', UUID.sub('<uid>', s))
    return re.sub(r'\b\d{3,}\b', '<n>', GENERATED.sub(r'\1*', s))


def norm(v, key=None):
    if isinstance(v, dict):
        return {k: norm(x, k) for k, x in v.items() if k not in DROP}
    if isinstance(v, list):
        v = [norm(x) for x in v]
        # Sorted by their times, which may or may not be in the same second.
        return sorted(v, key=json.dumps) if key == 'managedFields' else v
    if key == 'resourceVersion' and v: return '<rv>'
    if key == 'uid' and v: return '<uid>'
    if key in TIMES and v: return '<time>'
    if key == 'continue' and v: return '<continue>'
    if isinstance(v, str) and ALONE.fullmatch(v): return '<age>'
    return text(v) if isinstance(v, str) else v


def message(body):
    """The parts of a Status that are wording rather than structure."""
    if not (isinstance(body, dict) and body.get('kind') == 'Status'): return None
    causes = (body.get('details') or {}).get('causes') or []
    return [body.get('message')] + [c.get('message') for c in causes]


def structure(body):
    if isinstance(body, dict) and body.get('kind') == 'Status':
        body = json.loads(json.dumps(body)); body.pop('message', None)
        for c in (body.get('details') or {}).get('causes') or []: c.pop('message', None)
    return body


def headers(row):
    h = {k.lower(): v for k, v in (row.get('response_headers') or {}).items()}
    return {k: norm(h[k]) for k in HEADERS if k in h}


def diff(a, b, path='$'):
    """Yields the paths at which two normalised values differ."""
    if type(a) is not type(b): yield f'{path}: expected {short(a)}, got {short(b)}'
    elif isinstance(a, dict):
        for k in sorted(set(a) | set(b)):
            if k not in a: yield f'{path}.{k}: not expected, got {short(b[k])}'
            elif k not in b: yield f'{path}.{k}: expected {short(a[k])}, missing'
            else: yield from diff(a[k], b[k], f'{path}.{k}')
    elif isinstance(a, list):
        if len(a) != len(b): yield f'{path}: expected {len(a)} items, got {len(b)}'
        for i, (x, y) in enumerate(zip(a, b)): yield from diff(x, y, f'{path}[{i}]')
    elif a != b: yield f'{path}: expected {short(a)}, got {short(b)}'


def short(v):
    s = json.dumps(v, ensure_ascii=False)
    return s if len(s) < 120 else s[:117] + '...'


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('expected'); ap.add_argument('actual')
    ap.add_argument('--deviations'); ap.add_argument('--verbose', action='store_true'); ap.add_argument('--json')
    a = ap.parse_args()
    allowed = json.load(open(a.deviations)) if a.deviations else {}
    report, failed, used = {}, 0, set()
    print(f'{"group":18}{"rows":>6}{"status":>8}{"body":>6}{"message":>9}{"headers":>9}')
    details = []
    for f in sorted(os.listdir(a.expected)):
        group = f[:-5]; path = os.path.join(a.actual, f)
        if not f.endswith('.json') or not os.path.exists(path): continue
        got = {r['name']: r for r in json.load(open(path))}
        n = dict(rows=0, status=0, body=0, message=0, headers=0)
        for want in json.load(open(os.path.join(a.expected, f))):
            n['rows'] += 1; r = got.get(want['name']); key = f'{group}: {want["name"]}'
            if r is None: details.append((key, ['no such row recorded'])); failed += key not in allowed; used.add(key); continue
            w, g = norm(want.get('response')), norm(r.get('response')); why = []
            if want['status'] == r['status']: n['status'] += 1
            else: why.append(f'status: expected {want["status"]}, got {r["status"]}')
            d = list(diff(structure(w), structure(g)))
            if d: why += d[:12]
            else: n['body'] += 1
            m = message(w) == message(g); n['message'] += m
            h = headers(want) == headers(r); n['headers'] += h
            soft = ([] if m else [f'message: expected {short(message(w))}, got {short(message(g))}']) + ([] if h else [f'headers: expected {short(headers(want))}, got {short(headers(r))}'])
            if why:
                used.add(key)
                if key in allowed: details.append((key + '  [deviation: ' + allowed[key] + ']', why if a.verbose else []))
                else: failed += 1; details.append((key, why + soft))
            elif soft and a.verbose: details.append((key, soft))
        report[group] = n
        print(f'{group:18}{n["rows"]:6}{n["status"]:8}{n["body"]:6}{n["message"]:9}{n["headers"]:9}')
    for key, why in details:
        print('-', key)
        for w in why: print('    ', w)
    stale = sorted(k for k in set(allowed) - used if k.split(': ')[0] in report)
    for key in stale: print('stale deviation (the row agrees now):', key)
    total = {k: sum(n[k] for n in report.values()) for k in ('rows', 'status', 'body', 'message', 'headers')}
    print('total', total, '; not agreed and not named:', failed)
    if a.json: json.dump({'groups': report, 'total': total, 'failed': failed, 'stale': stale,
                          'deviations': {k: allowed[k] for k in sorted(used & set(allowed))}}, open(a.json, 'w'), indent=1)
    sys.exit(1 if failed or stale else 0)


main()
