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
      const view = (await viewsOf(path.host))[path.position];
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
