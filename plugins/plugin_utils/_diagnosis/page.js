// Filters what the page shows, and draws paths that are not drawn yet from the data in the page.
(() => {
  'use strict';
  const STEP = 100;
  const byId = (id) => document.getElementById(id);
  const packed = JSON.parse(byId('packed').textContent);
  const paths = JSON.parse(byId('index').textContent).map(([number, host, position, status, codes, names, words]) => (
    {number, host, position, status, codes, text: `${host} ${names} ${status} ${codes.join(' ')} ${words}`.toLowerCase()}
  ));
  const byNumber = new Map(paths.map((path) => [path.number, path]));
  const cards = byId('cards');
  const drawn = new Map([...cards.children].map((card) => [Number(card.id.slice(1)), card]));
  const rows = new Map([...byId('matrix').rows].map((row) => [row.cells[0].textContent, row]));
  const marks = new Map([...byId('matrix').querySelectorAll('a')].map((mark) => [Number(mark.hash.slice(2)), mark]));
  const silent = [...document.querySelectorAll('#silent li')];
  const unpacked = new Map();
  let limit = STEP;
  let turn = 0;

  // The same as filling.py.
  function fill(node, view) {
    const take = (name) => {
      const value = node.getAttribute(name);
      node.removeAttribute(name);
      return value;
    };
    const added = take('data-class');
    if (added && view[added]) node.classList.add(...view[added].split(' '));
    for (const pair of (take('data-attr') || '').split(' ').filter(Boolean)) {
      const [name, key] = pair.split('=');
      node.setAttribute(name, view[key] ?? '');
    }
    const text = take('data-text');
    if (text) node.textContent = view[text] || '';
    for (const child of [...node.children]) {
      const wanted = child.getAttribute('data-if');
      child.removeAttribute('data-if');
      if (wanted && (!view[wanted] || view[wanted].length === 0)) {
        child.remove();
        continue;
      }
      const each = child.getAttribute('data-each');
      if (!each) {
        fill(child, view);
        continue;
      }
      child.removeAttribute('data-each');
      for (const item of view[each] || []) {
        const copy = child.cloneNode(true);
        node.insertBefore(copy, child);
        fill(copy, typeof item === 'string' ? {text: item} : item);
      }
      child.remove();
    }
  }

  // The same as drawing.py, of what hosts told.
  const DRAWING = JSON.parse(byId('constants').textContent);
  const textOf = (value) => String(value ?? '');
  const texts = (value) => (Array.isArray(value) ? value.map(String) : value == null ? [] : [String(value)]);
  const clip = (text, length) => {
    const letters = [...text];
    return letters.length <= length ? text : `${letters.slice(0, length - 1).join('')}…`;
  };

  function stateOf(hop, status) {
    const state = hop.status === 'broken' && status === 'degraded' ? 'degraded' : textOf(hop.status);
    return Object.hasOwn(DRAWING.marks, state) ? state : 'unknown';
  }

  function worst(states) {
    const found = ['broken', 'degraded', 'not_reached', 'unknown'].find((state) => states.includes(state));
    return found || (states.length ? 'ok' : 'unknown');
  }

  function counters(link) {
    const parts = [];
    for (const way of ['rx', 'tx']) {
      if (link[`${way}_packets`] != null) {
        const lost = ['dropped', 'errors'].filter((word) => link[`${way}_${word}`]).map((word) => `${link[`${way}_${word}`]} ${word}`);
        parts.push(`${way} ${link[`${way}_packets`]}${lost.length ? ` (${lost.join(', ')})` : ''}`);
      }
    }
    if (link.mtu != null) parts.push(`mtu ${link.mtu}`);
    if (link.up === false) parts.push('down');
    return parts.join(' · ');
  }

  function wrapped(parts) {
    const lines = [];
    let length = 0;
    for (const part of parts) {
      length += [...part.text].length;
      if (!lines.length || length > DRAWING.characters) {
        lines.push([]);
        length = [...part.text].length;
      }
      lines[lines.length - 1].push(part);
    }
    return lines;
  }

  function stationOf([kind, title], hops, link, named, status) {
    const name = textOf(link.name || named[kind]);
    const states = hops.map((hop) => stateOf(hop, status));
    const wrong = hops.flatMap((hop, number) => (['broken', 'degraded'].includes(states[number]) ? texts(hop.evidence) : []));
    const marks = hops.map((hop, number) => (
      {status: states[number], text: `${DRAWING.marks[states[number]]} ${textOf(hop.hop).replaceAll('_', ' ')} `}
    ));
    const lines = [['detail', texts(link.addresses).join(' ')], ['counters', wrong.length ? wrong[0] : counters(link)]]
      .filter(([, text]) => text).map(([sort, text]) => ({kind: sort, parts: [clip(text, DRAWING.characters)]}));
    return {
      status: worst(states),
      name: clip(name || title, DRAWING.name),
      kind: name ? title : '',
      lines: [...lines, ...wrapped(marks).map((parts) => ({kind: 'hops', parts}))],
    };
  }

  function stationsOf(head, {namespace, links, hops}) {
    const known = DRAWING.stations.flatMap(([, , names]) => names);
    const others = hops.filter((hop) => !known.includes(hop.hop));
    const named = {namespace, host: 'the host', upstream: head.targets};
    return DRAWING.stations.flatMap((station) => {
      const [kind, , names] = station;
      const own = [...hops.filter((hop) => names.includes(hop.hop)), ...(kind === 'host' ? others : [])];
      const here = links.filter((link) => link.hop === kind);
      // Only the first of several links stands for the hops that they share.
      return (here.length ? here : [{}]).map((link, number) => stationOf(station, number ? [] : own, link, named, head.status));
    });
  }

  // Gives stations their places; returns the height of all of them.
  function place(stations) {
    let stopped = false;
    let top = 2;
    stations.forEach((station, number) => {
      const height = DRAWING.title + station.lines.length * DRAWING.line - 4;
      station.lines.forEach((line, at) => { line.y = DRAWING.title + 2 + at * DRAWING.line; });
      const faint = station.status === 'unknown' ? 'faint' : '';
      Object.assign(station, {mark: DRAWING.marks[station.status], place: `translate(0 ${top})`, height});
      station.wire = stopped ? 'cut' : number === 0 ? 'first' : faint;
      stopped ||= station.status === 'broken';
      top += height + DRAWING.gap;
    });
    return top - 2;
  }

  function linkRow(link) {
    const pair = (name) => ['rx', 'tx'].map((way) => link[`${way}_${name}`] ?? '?').join(' / ');
    return {
      hop: textOf(link.hop), name: textOf(link.name), netns: textOf(link.netns || 'the host'),
      state: link.up === true ? 'up' : link.up === false ? 'down' : '?',
      mtu: textOf(link.mtu ?? '?'), addresses: texts(link.addresses).join(', '),
      packets: pair('packets'), dropped: pair('dropped'), errors: pair('errors'),
    };
  }

  function hopRow(hop) {
    const status = Object.hasOwn(DRAWING.marks, textOf(hop.status)) ? hop.status : 'unknown';
    const state = `${DRAWING.marks[status]} ${DRAWING.words[status] || status}`;
    return {status, hop: textOf(hop.hop), state, evidence: texts(hop.evidence).join('; ')};
  }

  function viewOf([head, told]) {
    const stations = stationsOf(head, told);
    const box = `0 0 ${DRAWING.width} ${place(stations)}`;
    return {...head, box, stations, links: told.links.map(linkRow), hops: told.hops.map(hopRow)};
  }

  function viewsOf(host) {
    if (!unpacked.has(host)) {
      const bytes = Uint8Array.from(atob(packed[host]), (one) => one.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
      unpacked.set(host, new Response(stream).json());
    }
    return unpacked.get(host);
  }

  async function cardOf(path) {
    if (!drawn.has(path.number)) {
      const view = viewOf((await viewsOf(path.host))[path.position]);
      const card = byId('card').content.firstElementChild.cloneNode(true);
      fill(card, view);
      drawn.set(path.number, card);
    }
    return drawn.get(path.number);
  }

  function chosen() {
    const match = /^#p(\d+)$/.exec(location.hash);
    return match ? byNumber.get(Number(match[1])) : undefined;
  }

  function filtered() {
    const words = byId('search').value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = byId('status').value;
    const code = byId('code').value;
    const found = paths.filter((path) => (!status || path.status === status) && (!code || path.codes.includes(code))
      && words.every((word) => path.text.includes(word)));
    return {found, words, status, code, all: !words.length && !status && !code};
  }

  function showRows({found, words, status, code, all}) {
    const numbers = new Set(found.map((path) => path.number));
    const hosts = new Set(found.map((path) => path.host));
    for (const [host, row] of rows) {
      const told = row.classList.contains('silent');
      const named = words.every((word) => row.textContent.toLowerCase().includes(word));
      row.hidden = !(all || hosts.has(host) || (told && !status && !code && named));
    }
    for (const [number, mark] of marks) mark.classList.toggle('dim', !all && !numbers.has(number));
    for (const item of silent) {
      item.hidden = !(all || (!status && !code && words.every((word) => item.textContent.toLowerCase().includes(word))));
    }
    if (silent.length) silent[0].closest('section').hidden = silent.every((item) => item.hidden);
    byId('count').textContent = `${found.length} of ${paths.length} paths, on ${hosts.size} host${hosts.size === 1 ? '' : 's'}`;
  }

  async function show() {
    const mine = ++turn;
    const state = filtered();
    showRows(state);
    const asked = state.found.filter((path) => path.status !== 'ok' || state.status === 'ok' || state.words.length);
    const path = chosen();
    const first = path && !asked.slice(0, limit).includes(path) ? [path] : [];
    const made = await Promise.all([...first, ...asked.slice(0, limit)].map(cardOf));
    if (mine !== turn) return;
    cards.replaceChildren(...made);
    byId('more').hidden = asked.length <= limit;
    byId('more').textContent = `Show more (${asked.length - limit} are left)`;
    byId('none').hidden = made.length > 0;
    if (!made.length && !state.all) byId('none').textContent = 'No path that is not healthy is like that.';
  }

  async function goThere() {
    await show();
    const path = chosen();
    const card = path && drawn.get(path.number);
    if (card && card.isConnected) {
      card.scrollIntoView();
      card.focus({preventScroll: true});
    }
  }

  byId('filter').hidden = false;
  byId('filter').addEventListener('input', () => { limit = STEP; show(); });
  byId('filter').addEventListener('submit', (event) => event.preventDefault());
  byId('filter').addEventListener('reset', () => setTimeout(() => { limit = STEP; show(); }));
  byId('more').addEventListener('click', () => { limit += STEP; show(); });
  window.addEventListener('hashchange', goThere);
  goThere();
})();
