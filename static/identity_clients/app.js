/* Identity Clients: what htmx and plain HTML cannot do by themselves. Everything works without it. */
(() => {
  "use strict";

  const byId = (id) => document.getElementById(id);
  const dialogHolder = () => byId("ic-dialog");
  const openDialog = () => dialogHolder()?.querySelector("dialog");
  const results = () => byId("ic-results");

  /* The texts of the page, in its language. */
  const texts = () => byId("ic-say").dataset;

  /* Have a text read out. What stands outside an open dialog is not read, so each dialog has a live region of its own. */
  function announce(text) {
    const region = openDialog()?.querySelector("[data-say]") ?? byId("ic-say");
    region.textContent = text;
  }

  /* Sections: what somebody opened or closed stays so after a swap. */
  function keepDetailsOpen() {
    let states = [];
    document.addEventListener("htmx:before:swap", () => {
      states = [...document.querySelectorAll(".ic details[id]")].map((details) => [details.id, details.open]);
    });
    document.addEventListener("htmx:after:swap", () => {
      for (const [id, open] of states) if (byId(id)) byId(id).open = open;
    });
  }

  /* Background refresh: it waits while the page is hidden, and no other listener here takes notice of it. */
  function isolateBackgroundRefresh() {
    const events = ["htmx:before:request", "htmx:after:swap", "htmx:finally:request", "htmx:error"];
    for (const name of events)
      document.addEventListener(name, (event) => {
        if (!event.detail.ctx?.sourceElement.matches("[data-background]")) return;
        event.stopImmediatePropagation();
        if (document.hidden) event.preventDefault();
      });
  }

  /* Dialogs: one element holds the dialog that is open; the focus goes back to what opened it. */
  let opener = null;

  function rememberOpener(element) {
    if (dialogHolder().contains(element)) return;
    const menu = element.closest(".ic-menu");
    opener = menu ? menu.previousElementSibling : element;
    menu?.hidePopover();
  }

  function focusOpener() {
    const target = opener?.isConnected ? opener : opener?.id && byId(opener.id);
    opener = null;
    (target || document.querySelector(".ic h1"))?.focus();
  }

  function showDialog(dialog) {
    if (dialog.open) return;
    if (dialog.matches(".ic-s")) dialog.closedBy = "any";
    dialog.insertAdjacentHTML("beforeend", '<p class="ic-vh" role="status" data-say></p>');
    dialog.showModal();
    dialog.addEventListener("cancel", (event) => {
      if (dialog.dataset.locked) event.preventDefault();
    });
    dialog.addEventListener("close", () => {
      clearSecrets(dialog);
      dialogHolder().replaceChildren();
      focusOpener();
    });
  }

  function manageDialogs() {
    document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
      const target = typeof ctx.target === "string" ? document.querySelector(ctx.target) : ctx.target;
      if (target === dialogHolder()) rememberOpener(ctx.sourceElement);
      if (target?.id === "ic-results") target.setAttribute("aria-busy", "true");
    });
    document.addEventListener("htmx:after:swap", () => {
      const dialog = openDialog();
      if (dialog) {
        touchSecretFields(dialog);
        showDialog(dialog);
      } else if (opener && !document.querySelector(":popover-open")) focusOpener();
    });
  }

  /* Secrets: they leave the page with the page, even where the browser keeps a copy of it. */
  function clearSecrets(root) {
    for (const element of root.querySelectorAll("[data-secret]")) {
      if ("value" in element) element.value = "";
      else element.textContent = "";
    }
  }

  function clearSecretsOnLeave() {
    addEventListener("pagehide", () => clearSecrets(document));
    addEventListener("pageshow", (event) => {
      if (event.persisted) location.reload();
    });
  }

  /* Secrets: a morph clears a pre-filled field whose value was never set by script or hand, so set it. */
  function touchSecretFields(root) {
    for (const field of root.querySelectorAll("input[data-secret]")) {
      const { value } = field;
      field.value = value;
    }
  }

  /* Secrets: one that was typed goes only with what saves it, and with its own check. */
  function keepSecretOutOfOtherRequests() {
    document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
      if (!ctx.sourceElement.matches("form, [data-secret]")) ctx.request.body?.delete("client_secret");
    });
  }

  /* Secrets: a field that shows its value goes on showing it when the form around it is renewed. */
  function keepSecretsShown() {
    const buttons = () => [...document.querySelectorAll("[data-reveal]")];
    const isShown = (button) => byId(button.dataset.reveal).type === "text";
    let shown = [];
    document.addEventListener("htmx:before:swap", () => {
      shown = buttons()
        .filter(isShown)
        .map((button) => button.dataset.reveal);
    });
    document.addEventListener("htmx:after:swap", () => {
      for (const button of buttons()) if (shown.includes(button.dataset.reveal) && !isShown(button)) reveal(button);
    });
  }

  /* The list: not busy any more once an answer is there. A heading changes the order too, and the next search keeps it. */
  function followResults() {
    const setIdle = () => results()?.removeAttribute("aria-busy");
    document.addEventListener("htmx:after:swap", () => {
      setIdle();
      if (byId("ic-sort")) byId("ic-sort").value = results().dataset.sort;
    });
    document.addEventListener("htmx:finally:request", setIdle);
  }

  /* The list: how many clients match is read out. */
  function announceResults() {
    document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
      if (!ctx.sourceElement.matches(".ic-find")) return;
      announce(results().querySelector(".ic-none h2, .ic-pager p").firstChild.textContent.trim());
    });
  }

  /* A request that fails on the way is read out. */
  function announceFailures() {
    document.addEventListener("htmx:error", () => announce(texts().away));
  }

  /* Checked fields: the message of a field that was left is read out, and its state set. */
  function announceFieldMessages() {
    document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
      const field = ctx.sourceElement;
      if (!field.matches("[data-check]")) return;
      if (ctx.target.querySelector(".ic-err:not(.ic-due)")) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
      announce(ctx.target.textContent.trim());
    });
  }

  /* Focus: a button that was disabled during its request gets it back; if what had it is gone, the results do. */
  function restoreFocus() {
    let focused = null;
    document.addEventListener("htmx:before:request", () => {
      if (document.activeElement !== document.body) focused = document.activeElement;
    });
    document.addEventListener("htmx:finally:request", () =>
      setTimeout(() => {
        if (document.activeElement !== document.body || !focused) return;
        (focused.isConnected ? focused : results())?.focus({ preventScroll: true });
      }),
    );
  }

  /* Menus of actions: fetched into the empty popover beside their link, then shown. */
  function showMenus() {
    document.addEventListener("htmx:after:settle", ({ target: menu }) => {
      if (!menu.matches?.(".ic-menu") || menu.matches(":popover-open")) return;
      menu.showPopover({ source: menu.previousElementSibling });
    });
    const setExpanded = (event) => {
      const link = event.target.previousElementSibling;
      if (link?.matches("[data-menu]")) link.setAttribute("aria-expanded", String(event.newState === "open"));
    };
    document.addEventListener("toggle", setExpanded, true);
  }

  /* Menus of actions: pressed once more, the link closes its menu. A pointer has closed it before the click comes. */
  function closeMenusByTheirLink() {
    let closing = null;
    const rememberOpen = (event) => {
      closing = event.target.closest("[data-menu]:has(+ :popover-open)");
    };
    const hide = (event) => {
      const link = event.target.closest("[data-menu]");
      const closedByPointer = event.detail && link && link === closing;
      if (!link?.matches(":has(+ :popover-open)") && !closedByPointer) return;
      event.preventDefault();
      event.stopPropagation();
      link.nextElementSibling.hidePopover();
    };
    document.addEventListener("pointerdown", rememberOpen, true);
    document.addEventListener("click", hide, true);
  }

  /* Copy buttons. */
  function copy(button) {
    const source = byId(button.dataset.copy);
    const { what } = button.dataset;
    navigator.clipboard.writeText(source.value ?? source.textContent).then(
      () => {
        button.querySelector("span").textContent = texts().done;
        announce(texts().copied.replace("{}", what));
      },
      () => announce(texts().uncopied.replace("{}", what)),
    );
  }

  /* Buttons that show a password field, and hide it again. */
  function reveal(button) {
    const field = byId(button.dataset.reveal);
    const label = button.querySelector("span");
    const { other } = button.dataset;
    field.type = field.type === "password" ? "text" : "password";
    button.dataset.other = label.textContent;
    label.textContent = other;
  }

  /* Links that leave a form: in a dialog they close it. */
  function close(_link, event) {
    const dialog = openDialog();
    if (!dialog) return;
    event.preventDefault();
    dialog.close();
  }

  /* Buttons that close a message in the corner. */
  function drop(button) {
    button.closest(".ic-toast").remove();
  }

  function handleClicks() {
    const handlers = { copy, reveal, close, drop };
    const selector = Object.keys(handlers)
      .map((name) => `.ic [data-${name}]`)
      .join();
    document.addEventListener("click", (event) => {
      const element = event.target.closest(selector);
      if (element) for (const name in handlers) if (name in element.dataset) handlers[name](element, event);
    });
  }

  /* Links of an error summary move the focus to the field. */
  function focusFieldsWithErrors() {
    document.addEventListener("click", (event) => {
      const link = event.target.closest('.ic .ic-note a[href^="#"]');
      if (!link) return;
      event.preventDefault();
      byId(link.hash.slice(1)).focus();
    });
  }

  /* Fields that show more than their value: twins, counted characters, chosen roles. */
  function followInput() {
    document.addEventListener("input", ({ target: field }) => {
      if (!field.closest?.(".ic")) return;
      const { twin, count } = field.dataset;
      if (twin) byId(twin).value = field.value;
      if (count) byId(count).textContent = [...field.value.trim().normalize()].length;
      const chosen = field.form?.querySelector("[data-chosen]");
      if (field.name === "roles" && chosen)
        chosen.textContent = field.form.querySelectorAll("[name=roles]:checked").length;
    });
    document.addEventListener("change", ({ target: field }) => {
      if (!field.matches(".ic [type=range]")) return;
      byId(field.dataset.twin).dispatchEvent(new Event("change", { bubbles: true }));
    });
  }

  /* The hand-over: Done closes it where it is a dialog. */
  function closeHandover() {
    document.addEventListener("submit", (event) => {
      if (!event.target.matches("dialog [data-handover]")) return;
      event.preventDefault();
      openDialog().close();
    });
  }

  /* Listeners of one event run in this order: the background refresh hides from all others. */
  keepDetailsOpen();
  isolateBackgroundRefresh();
  manageDialogs();
  clearSecretsOnLeave();
  keepSecretOutOfOtherRequests();
  followResults();
  announceResults();
  announceFailures();
  announceFieldMessages();
  keepSecretsShown();
  restoreFocus();
  showMenus();
  closeMenusByTheirLink();
  focusFieldsWithErrors();
  handleClicks();
  followInput();
  closeHandover();

  touchSecretFields(document);
  document.querySelector(".ic [autofocus]")?.focus();
})();
