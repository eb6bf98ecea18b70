/* Identity Clients: what htmx and plain HTML cannot do by themselves. Everything works without it. */
(() => {
  'use strict';
  const d = document;
  const byId = id => d.getElementById(id);
  /* What stands outside an open dialog is not read out, so each dialog has a place of its own for it. */
  const say = words => { (dialog()?.querySelector('[data-say]') ?? byId('ic-say')).textContent = words; };

  /* Words, in the language of the page. */
  const words = () => byId('ic-say').dataset;

  /* What somebody opened or closed stays so. */
  let opened = [];
  d.addEventListener('htmx:before:swap', () => { opened = [...d.querySelectorAll('.ic details[id]')].map(part => [part.id, part.open]); });
  d.addEventListener('htmx:after:swap', () => opened.forEach(([id, open]) => { if (byId(id)) byId(id).open = open; }));

  /* A panel that refreshes itself waits while nobody sees the page, and nothing below takes notice of it. */
  ['htmx:before:request', 'htmx:after:swap', 'htmx:finally:request', 'htmx:error'].forEach(name => d.addEventListener(name, event => {
    if (!event.detail.ctx?.sourceElement.matches('[data-background]')) return;
    event.stopImmediatePropagation();
    if (d.hidden) event.preventDefault();
  }));

  /* Dialogs. One place holds the dialog that is open; focus goes back to what opened it. */
  let opener = null;
  const place = () => byId('ic-dialog');
  const dialog = () => place()?.querySelector('dialog');

  const rememberOpener = element => {
    if (place().contains(element)) return;
    const menu = element.closest('.ic-menu');
    opener = menu ? menu.previousElementSibling : element;
    menu?.hidePopover();
  };
  const backToOpener = () => {
    const target = opener?.isConnected ? opener : opener?.id && byId(opener.id);
    opener = null;
    (target || d.querySelector('.ic h1'))?.focus();
  };
  const open = () => {
    const box = dialog();
    if (!box || box.open) return;
    if (box.matches('.ic-s')) box.closedBy = 'any';
    box.insertAdjacentHTML('beforeend', '<p class="ic-vh" role="status" data-say></p>');
    box.showModal();
    box.addEventListener('cancel', event => { if (box.dataset.locked) event.preventDefault(); });
    box.addEventListener('close', () => { wipe(box); place().replaceChildren(); backToOpener(); });
  };
  const shut = () => { const box = dialog(); if (box) box.close(); };

  /* A secret leaves the page with the page, even where the browser keeps a copy of it (W14). */
  const wipe = root => root.querySelectorAll('[data-secret]').forEach(element => {
    if ('value' in element) element.value = ''; else element.textContent = '';
  });
  addEventListener('pagehide', () => wipe(d));
  addEventListener('pageshow', event => { if (event.persisted) location.reload(); });

  /* A morph clears a pre-filled field that nobody touched, so touch it. */
  const touch = root => root.querySelectorAll('input[data-secret]').forEach(field => { field.value = field.value; });

  d.addEventListener('htmx:before:request', event => rememberIfOpening(event.detail.ctx));
  const rememberIfOpening = ctx => {
    const target = typeof ctx.target === 'string' ? d.querySelector(ctx.target) : ctx.target;
    if (target === place()) rememberOpener(ctx.sourceElement);
    if (target?.id === 'ic-results') target.setAttribute('aria-busy', 'true');
  };
  d.addEventListener('htmx:after:swap', () => {
    const box = dialog();
    if (box) { touch(box); open(); } else if (opener && !d.querySelector(':popover-open')) backToOpener();
    byId('ic-results')?.removeAttribute('aria-busy');
    /* A heading changes the order as well, and the next search keeps it. */
    if (byId('ic-sort')) byId('ic-sort').value = byId('ic-results').dataset.sort;
  });
  /* How many clients match is read out. */
  d.addEventListener('htmx:after:swap', ({ detail: { ctx } }) => {
    if (ctx.sourceElement.matches('.ic-find')) say(byId('ic-results').querySelector('.ic-none h2, .ic-pager p').firstChild.textContent);
  });
  d.addEventListener('htmx:finally:request', () => byId('ic-results')?.removeAttribute('aria-busy'));
  d.addEventListener('htmx:error', () => say(words().away));

  /* The secret goes only with what saves it, and with its own check. */
  d.addEventListener('htmx:config:request', ({ detail: { ctx } }) => {
    if (!ctx.sourceElement.matches('form, [data-secret]')) ctx.request.body?.delete('client_secret');
  });

  /* A field that was judged as it was left: its message is read out, and its state set. */
  d.addEventListener('htmx:after:swap', ({ detail: { ctx } }) => {
    if (!ctx.sourceElement.matches('[data-check]')) return;
    if (ctx.target.querySelector('.ic-err:not(.ic-due)')) ctx.sourceElement.setAttribute('aria-invalid', 'true');
    else ctx.sourceElement.removeAttribute('aria-invalid');
    say(ctx.target.textContent);
  });

  /* A secret that is shown stays shown when the form around it is renewed. */
  let shown = [];
  d.addEventListener('htmx:before:swap', () => {
    shown = [...d.querySelectorAll('[data-reveal]')].filter(isShown).map(button => button.dataset.reveal);
  });
  d.addEventListener('htmx:after:swap', () => d.querySelectorAll('[data-reveal]').forEach(button => {
    if (shown.includes(button.dataset.reveal) && !isShown(button)) handlers.reveal(button);
  }));
  const isShown = button => byId(button.dataset.reveal).type === 'text';

  /* A button that was disabled while its request was under way gets its focus back; if what had it is gone, the list does. */
  let focused = null;
  d.addEventListener('htmx:before:request', () => { if (d.activeElement !== d.body) focused = d.activeElement; });
  d.addEventListener('htmx:finally:request', () => setTimeout(() => {
    if (d.activeElement !== d.body || !focused) return;
    (focused.isConnected ? focused : byId('ic-results'))?.focus({ preventScroll: true });
  }));

  /* Action menus: fetched into the empty popover beside their link, then shown. */
  d.addEventListener('htmx:after:settle', event => {
    const menu = event.target;
    if (menu.matches?.('.ic-menu') && !menu.matches(':popover-open')) menu.showPopover({ source: menu.previousElementSibling });
  });
  const expand = event => {
    const link = event.target.previousElementSibling;
    if (link?.matches('[data-menu]')) link.setAttribute('aria-expanded', String(event.newState === 'open'));
  };
  d.addEventListener('toggle', expand, true);
  /* Pressed once more, its link closes it; a pointer has closed it before the click comes. */
  let closing = null;
  d.addEventListener('pointerdown', event => { closing = event.target.closest('[data-menu]:has(+ :popover-open)'); }, true);
  d.addEventListener('click', event => {
    const link = event.target.closest('[data-menu]');
    if (!link?.matches(':has(+ :popover-open)') && !(event.detail && link && link === closing)) return;
    event.preventDefault();
    event.stopPropagation();
    link.nextElementSibling.hidePopover();
  }, true);

  const handlers = {
    copy(button) {
      const source = byId(button.dataset.copy);
      navigator.clipboard.writeText(source.value ?? source.textContent).then(
        () => { button.querySelector('span').textContent = words().done; say(words().copied.replace('{}', button.dataset.what)); },
        () => say(words().uncopied.replace('{}', button.dataset.what)));
    },
    reveal(button) {
      const field = byId(button.dataset.reveal), label = button.querySelector('span'), { other } = button.dataset;
      field.type = field.type === 'password' ? 'text' : 'password';
      button.dataset.other = label.textContent;
      label.textContent = other;
    },
    close(_link, event) { if (dialog()) { event.preventDefault(); shut(); } },
    drop(button) { button.closest('.ic-toast').remove(); },
  };
  d.addEventListener('click', event => {
    const problem = event.target.closest('.ic .ic-note a[href^="#"]');
    if (problem) { event.preventDefault(); byId(problem.hash.slice(1)).focus(); }
    const element = event.target.closest('.ic [data-copy], .ic [data-reveal], .ic [data-close], .ic [data-drop]');
    if (element) for (const name in handlers) if (name in element.dataset) handlers[name](element, event);
  });

  /* Fields that show more than their value. */
  d.addEventListener('input', event => {
    const field = event.target;
    if (!field.closest?.('.ic')) return;
    if (field.dataset.twin) byId(field.dataset.twin).value = field.value;
    if (field.dataset.count) byId(field.dataset.count).textContent = [...field.value.trim().normalize()].length;
    const form = field.form, chosen = form?.querySelector('[data-chosen]');
    if (field.name === 'roles' && chosen) chosen.textContent = form.querySelectorAll('[name=roles]:checked').length;
  });

  d.addEventListener('change', event => {
    if (event.target.matches('.ic [type=range]')) byId(event.target.dataset.twin).dispatchEvent(new Event('change', { bubbles: true }));
  });

  /* "I have saved the secret": Done closes the hand-over where it is a dialog. */
  d.addEventListener('submit', event => {
    if (event.target.matches('dialog [data-handover]')) { event.preventDefault(); shut(); }
  });

  touch(d);
  d.querySelector('.ic [autofocus]')?.focus();
})();
