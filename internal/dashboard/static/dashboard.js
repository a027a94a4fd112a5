// What is nicer with a script. Every page reads and acts without it.

// A button copies what stands beside it.
document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.firstChild.data = 'Copied';
  } catch { // the browser does not let us: what is to be copied is selected in its place
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    button.firstChild.data = 'Selected';
  }
});

// What a link with data-dialog leads to is asked on top of the page, once htmx has fetched it.
const dialog = document.getElementById('dialog');
document.addEventListener('htmx:afterSwap', (event) => {
  if (event.detail.target.id !== 'dialog-body') return;
  const asked = event.detail.target.querySelector('[data-title]');
  document.getElementById('dialog-title').textContent = asked ? asked.dataset.title : '';
  dialog.showModal();
  dialog.querySelector('form[method=dialog] button').focus(); // a second press of Enter is no answer
});

// Whoever goes on in a list by keyboard goes on from where it begins: the link that had the focus went with the part it was in.
document.addEventListener('htmx:afterSettle', () => {
  const list = document.getElementById('list');
  if (!list || document.activeElement !== document.body) return;
  list.tabIndex = -1;
  list.focus({ preventScroll: true });
});

// Tables whose cells stand one below the other are still tables to whoever listens to them.
const roles = { TABLE: 'table', THEAD: 'rowgroup', TBODY: 'rowgroup', TR: 'row', TD: 'cell' };
function prepare(root) {
  for (const e of root.querySelectorAll('table.reflows, table.reflows :is(thead, tbody, tr, td)')) e.setAttribute('role', roles[e.tagName]);
  for (const e of root.querySelectorAll('table.reflows th')) e.setAttribute('role', e.scope === 'row' ? 'rowheader' : 'columnheader');
  for (const e of root.querySelectorAll('[data-copy]')) e.hidden = false;
}
prepare(document);
document.addEventListener('htmx:load', (event) => prepare(event.detail.elt.parentElement ?? document));

// The code of a one-time link stands behind the #, where no server sees it.
const joining = document.querySelector('input[data-fragment]');
if (joining && location.hash.length > 1) {
  joining.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, '', location.pathname);
}
