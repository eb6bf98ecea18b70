/* Identity Clients: what htmx and plain HTML cannot do by themselves. Everything works without it. */
(() => {
  "use strict";

  const byId = (id) => document.getElementById(id);
  const dialogHolder = () => byId("ic-dialog");
  const openDialog = () => dialogHolder()?.querySelector("dialog");
  const results = () => byId("ic-results");
  const BUSY_MILLISECONDS = 150;
  const CHECK_MILLISECONDS = 10_000;
  const TOAST_MILLISECONDS = 10_000;

  /* The texts of the page, in its language. */
  const texts = () => byId("ic-say").dataset;

  /* Have a text read out. What stands outside an open dialog is not read, so each dialog has a live region of its own. */
  function announce(text) {
    const region = openDialog()?.querySelector("[data-say]") ?? byId("ic-say");
    region.textContent = text;
  }

  /* Sections: the open or closed state is kept after a swap. */
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
    const events = [
      "htmx:before:request",
      "htmx:before:response",
      "htmx:after:swap",
      "htmx:finally:request",
      "htmx:error",
    ];
    for (const name of events)
      document.addEventListener(name, (event) => {
        const { ctx } = event.detail;
        if (!ctx?.sourceElement.matches("[data-background]")) return;
        event.stopImmediatePropagation();
        if (document.hidden || (ctx.response && !isOurs(ctx.response))) event.preventDefault();
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
      const isLocked = "locked" in dialog.dataset;
      if (!isLocked && !isEdited()) return;
      event.preventDefault();
      if (!isLocked) closeDialog(dialog);
    });
    dialog.addEventListener("close", () => {
      clearSecrets(dialog);
      dialogHolder().replaceChildren();
      focusOpener();
    });
  }

  /* Close a dialog; if it has unsaved input, after a confirmation. */
  function closeDialog(dialog) {
    if (isEdited()) askToDiscard(() => dialog.close());
    else dialog.close();
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
      // Where it is missing, a notice is there, which is read out by itself.
      const summary = results().querySelector(".ic-none h2, .ic-pager p");
      if (summary) announce(summary.firstChild.textContent.trim());
    });
  }

  /* Failures: our responses have a header. Any other comes from a proxy, or from a page of the host to which
     the request was redirected, such as its sign-in page. */
  function isOurs(response) {
    return response.headers.has("X-Identity-Clients");
  }

  const isMenu = (element) => element?.matches?.(".ic-menu");
  const failedRequests = new WeakMap();

  /* Return a notice with the reason of a failure, and a button that repeats the request. */
  function makeFailureNotice(reason, repeat) {
    const notice = byId("ic-failure").content.firstElementChild.cloneNode(true);
    notice.querySelector("p").textContent = reason;
    failedRequests.set(notice.querySelector("[data-retry]"), repeat);
    return notice;
  }

  function makeFailureDialog(notice) {
    const dialog = byId("ic-failure-dialog").content.firstElementChild.cloneNode(true);
    dialog.querySelector(".ic-stack").append(notice);
    notice.querySelector("[data-retry]").autofocus = true;
    return dialog;
  }

  /* Failures: the notice stands where the response would have been: in the form, dialog, menu or list. */
  function showFailure(ctx, reason) {
    const { sourceElement: source, target } = ctx;
    if (source.matches("[data-check]")) return;
    const message = source.closest("form[method=post]")?.querySelector("#ic-form-message");
    const notice = makeFailureNotice(reason, () => repeatRequest(ctx));
    if (message) {
      message.replaceChildren(notice);
      message.scrollIntoView({ block: "nearest" });
    } else if (target === dialogHolder()) {
      dialogHolder().replaceChildren(makeFailureDialog(notice));
      showDialog(openDialog());
    } else if (isMenu(target)) {
      target.replaceChildren(notice);
      target.showPopover({ source });
    } else if (target === results()) {
      removeFailure(target);
      notice.querySelector("p").prepend(`${source.matches(".ic-find") ? texts().unfiltered : texts().stale} `);
      target.classList.add("ic-stale");
      target.prepend(notice);
    } else {
      removeFailure(target.parentElement);
      target.before(notice);
    }
  }

  function removeFailure(parent) {
    parent.querySelector(":scope > .ic-failure")?.remove();
  }

  function repeatRequest({ sourceElement: source, request }) {
    if (!source.isConnected) location.reload();
    else if (source === results()) document.body.dispatchEvent(new CustomEvent("ic-changed"));
    else if (source.matches("form")) source.requestSubmit(request.submitter);
    else {
      if (isMenu(source.nextElementSibling)) source.nextElementSibling.hidePopover();
      source.click();
    }
  }

  function reportFailures() {
    document.addEventListener("htmx:before:response", (event) => {
      const { ctx } = event.detail;
      const { response, target } = ctx;
      const isError = response.status >= 400 && !ctx.hx.redirect;
      if (isOurs(response) && !(isError && (target === results() || isMenu(target)))) return;
      event.preventDefault();
      if (!isOurs(response)) showFailure(ctx, response.status >= 500 ? texts().down : texts().elsewhere);
      else response.raw.text().then((html) => showFailure(ctx, textOf(html)));
    });
    document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
      if (ctx) showFailure(ctx, ctx.request.signal.reason === "timeout" ? texts().slow : texts().away);
    });
    document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
      if (ctx.sourceElement.matches("[data-check]")) return;
      const form = ctx.sourceElement.closest("form[method=post]");
      form?.querySelector("#ic-form-message > .ic-failure")?.remove();
      if (ctx.target?.parentElement) removeFailure(ctx.target.parentElement);
    });
  }

  function textOf(html) {
    return new DOMParser().parseFromString(html, "text/html").body.textContent.trim();
  }

  /* Failures: a form of a page is sent only if the server answers, since the browser would replace it by an error page. */
  function checkServerBeforeSubmit() {
    const checked = new WeakSet();
    const pending = new WeakSet();
    document.addEventListener("submit", (event) => {
      const { target: form, submitter } = event;
      if (event.defaultPrevented || !form.matches("#ic form[method=post]:not([hx-post])")) return;
      if (checked.delete(form)) {
        edited = null;
        return;
      }
      event.preventDefault();
      if (pending.has(form)) return;
      pending.add(form);
      const setIdle = setBusyAfterAWhile(busyElement(form, submitter));
      findFailure(form.getAttribute("action"))
        .then((reason) => {
          if (!reason) {
            checked.add(form);
            form.requestSubmit(submitter);
            return;
          }
          setIdle();
          const notice = makeFailureNotice(reason, () => form.requestSubmit(submitter));
          const message = form.querySelector("#ic-form-message");
          if (message) message.replaceChildren(notice);
          else {
            removeFailure(form);
            form.prepend(notice);
          }
          notice.scrollIntoView({ block: "nearest" });
        })
        .finally(() => pending.delete(form));
    });
  }

  /* Return why one of our URLs cannot be reached, or undefined. */
  async function findFailure(url) {
    try {
      const signal = AbortSignal.timeout(CHECK_MILLISECONDS);
      const response = await fetch(url, { method: "HEAD", cache: "no-store", redirect: "manual", signal });
      if (isOurs(response)) return undefined;
      return response.status >= 500 ? texts().down : texts().elsewhere;
    } catch (error) {
      return error.name === "TimeoutError" ? texts().slow : texts().away;
    }
  }

  /* Pending requests: after a while the button or link that was pressed shows it. It keeps the focus, and its form drops
     further requests meanwhile. */
  function busyElement(source, submitter) {
    if (source.matches("form[method=post]"))
      return submitter?.matches(":not(.ic-vh)")
        ? submitter
        : source.querySelector("footer :is(.ic-go, .ic-del), .ic-go, .ic-del");
    return source.matches("a, button") && !source.matches("th a") ? source : null;
  }

  /* Return a function that ends it. */
  function setBusyAfterAWhile(element) {
    if (!element) return () => {};
    const label = element.textContent;
    const { busy } = element.dataset;
    const timer = setTimeout(() => {
      element.classList.add("ic-busy");
      if (!busy) return;
      element.textContent = busy;
      announce(busy);
    }, BUSY_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      element.classList.remove("ic-busy");
      if (!busy || element.textContent !== busy) return; // a swap may have given it another label
      element.textContent = label;
      announce("");
    };
  }

  function showPendingRequests() {
    const ends = new WeakMap();
    document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
      const pressed = document.activeElement?.closest(".ic [data-retry]");
      ends.set(ctx, setBusyAfterAWhile(pressed ?? busyElement(ctx.sourceElement, ctx.request.submitter)));
    });
    document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => ends.get(ctx)?.());
  }

  /* Edited forms: input is not discarded without a confirmation. */
  let edited = null;
  const isEdited = () => Boolean(edited?.isConnected);

  function askToDiscard(discard) {
    const confirmation = byId("ic-discard").content.firstElementChild.cloneNode(true);
    byId("ic").append(confirmation);
    confirmation.addEventListener("close", () => {
      confirmation.remove();
      if (confirmation.returnValue !== "discard") return;
      edited = null;
      discard();
    });
    confirmation.showModal();
  }

  function keepEdits() {
    document.addEventListener("input", ({ target: { form } }) => {
      if (form?.matches(".ic [data-edits]")) edited = form;
    });
    document.addEventListener("htmx:before:request", (event) => {
      const { sourceElement: source, request, target } = event.detail.ctx;
      if (target !== dialogHolder() || request.method !== "GET" || !isEdited()) return;
      event.preventDefault();
      askToDiscard(() => source.click());
    });
    /* Where a browser closes a dialog by Escape without an event that could be cancelled. */
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing || !isEdited() || !openDialog()?.contains(event.target)) return;
      event.preventDefault();
      closeDialog(openDialog());
    });
    addEventListener("beforeunload", (event) => {
      const unsavedSecret = document.querySelector(".ic [data-handover] [required]:not(:checked)");
      if (isEdited() || unsavedSecret) event.preventDefault();
    });
  }

  /* Required fields: valid for screen readers until they were judged. */
  function followValidity() {
    document.addEventListener("invalid", ({ target }) => target.setAttribute("aria-invalid", "true"), true);
    document.addEventListener("change", ({ target }) => {
      if (target.matches('.ic [type=checkbox][aria-invalid="true"]') && target.checkValidity())
        target.setAttribute("aria-invalid", "false");
    });
  }

  /* Checked fields: the message of a field that was left is read out, and its state set. */
  function announceFieldMessages() {
    document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
      const field = ctx.sourceElement;
      if (!field.matches("[data-check]")) return;
      const isInvalid = Boolean(ctx.target.querySelector(".ic-err:not(.ic-due)"));
      field.setAttribute("aria-invalid", String(isInvalid));
      if (!isInvalid) removeFromSummary(field.id);
      announce(ctx.target.textContent.trim());
    });
    document.addEventListener("change", ({ target: { form, name } }) => {
      if (name !== "roles" || !form?.matches(".ic [data-edits]") || !form.querySelector("[name=roles]:checked")) return;
      const message = byId("f-roles-m");
      if (!message?.querySelector(".ic-err")) return;
      message.replaceChildren();
      byId("f-roles").setAttribute("aria-invalid", "false");
      removeFromSummary("f-roles");
    });
  }

  /* A field that was put right leaves the summary of errors, and the last one takes the summary with it. */
  function removeFromSummary(id) {
    const link = document.querySelector(`.ic .ic-note.ic-no a[href="#${id}"]`);
    if (!link) return;
    const summary = link.closest(".ic-note");
    link.closest("li").remove();
    if (!summary.querySelector("li")) summary.remove();
  }

  /* Messages in the corner: they go after a while, unless they are pointed at or have the focus. */
  function removeToasts() {
    const removeLater = (toast) =>
      setTimeout(() => {
        if (toast.matches(":hover, :focus-within")) removeLater(toast);
        else toast.remove();
      }, TOAST_MILLISECONDS);
    document.addEventListener("htmx:after:swap", () => {
      for (const toast of document.querySelectorAll(".ic-toast:not([data-timed])")) {
        toast.dataset.timed = "";
        removeLater(toast);
      }
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

  /* Menus of actions: arrow keys, Home, End and first letters move within one, and the arrow keys open it. */
  function moveInMenus() {
    let opening = false;
    const items = (menu) => [...menu.querySelectorAll("a, button")];
    const next = (all, current, key) => {
      switch (key) {
        case "ArrowDown":
          return all[(current + 1) % all.length];
        case "ArrowUp":
          return all.at(current < 1 ? -1 : current - 1);
        case "Home":
          return all[0];
        case "End":
          return all.at(-1);
        default: {
          const rotated = [...all.slice(current + 1), ...all.slice(0, current + 1)];
          return rotated.find((item) => item.textContent.trim().toLowerCase().startsWith(key.toLowerCase()));
        }
      }
    };
    document.addEventListener("keydown", (event) => {
      const { target, key } = event;
      if (event.ctrlKey || event.metaKey || event.altKey || !target.closest?.(".ic")) return;
      const link = target.closest("[data-menu], [popovertarget]");
      const menu = link ? link.nextElementSibling : target.closest(".ic-menu:popover-open");
      const isArrow = key === "ArrowDown" || key === "ArrowUp";
      if (!isMenu(menu) || (link && !isArrow) || !(isArrow || key === "Home" || key === "End" || /^\S$/.test(key)))
        return;
      if (link && !menu.matches(":popover-open")) {
        event.preventDefault();
        opening = true;
        link.click();
        return;
      }
      const item = next(items(menu), items(menu).indexOf(document.activeElement), key);
      if (!item) return;
      event.preventDefault();
      item.focus();
    });
    document.addEventListener(
      "toggle",
      ({ target, newState }) => {
        if (newState !== "open" || !isMenu(target) || !opening) return;
        opening = false;
        items(target)[0]?.focus();
      },
      true,
    );
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

  /* Copy buttons. Where the browser refuses, such as without https, the text is selected for the person to copy. */
  async function copy(button) {
    const source = byId(button.dataset.copy);
    const { what } = button.dataset;
    button.parentElement.parentElement.querySelector(":scope > [data-uncopied]")?.remove();
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
    } catch {
      selectText(source);
      button.parentElement.after(makeCopyError(texts().uncopied.replace("{}", what)));
      return;
    }
    button.querySelector("span").textContent = texts().done;
    announce(texts().copied.replace("{}", what));
  }

  function selectText(element) {
    if ("value" in element) {
      if (element.type === "password") reveal(document.querySelector(`[data-reveal="${element.id}"]`));
      element.focus();
      element.select();
    } else getSelection().selectAllChildren(element);
  }

  function makeCopyError(text) {
    const error = document.createElement("p");
    error.className = "ic-err";
    error.dataset.uncopied = "";
    error.setAttribute("role", "alert");
    error.textContent = text;
    return error;
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
    closeDialog(dialog);
  }

  /* Buttons that repeat a request that failed. */
  function retry(button) {
    failedRequests.get(button)();
  }

  /* Buttons that close a message in the corner. */
  function drop(button) {
    button.closest(".ic-toast").remove();
  }

  /* Keys: what seems to be a private key is not sent. */
  const PRIVATE_KEY = /PRIVATE KEY|PuTTY-User-Key-File|[\x22\x27](?:d|k|p|q|dp|dq|qi)[\x22\x27]\s*:/i;
  const KEY_FILE_BYTES = 20_000;
  const DOWNLOAD_MILLISECONDS = 10_000;
  const keyTools = () => document.querySelector(".ic [data-key-tools]");

  function showKeyTools() {
    if (keyTools()) keyTools().hidden = false;
  }

  function setPublicKey(text) {
    byId("f-public_key").value = text;
    byId("f-public_key").dispatchEvent(new Event("input", { bubbles: true }));
  }

  function showKeyError(text) {
    const error = document.createElement("p");
    error.className = "ic-err";
    error.setAttribute("role", "alert");
    error.textContent = text;
    byId("f-public_key-m").replaceChildren(error);
    byId("f-public_key").setAttribute("aria-invalid", "true");
  }

  /* Make a key pair, save the private key as a file, and fill in the public one. */
  async function make() {
    const { dataset } = keyTools();
    const status = keyTools().querySelector("[data-key-status]");
    try {
      const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
      const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
      const bytes = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
      const lines = btoa(String.fromCharCode(...bytes)).match(/.{1,64}/g);
      save(dataset.fileName, ["-----BEGIN PRIVATE KEY-----", ...lines, "-----END PRIVATE KEY-----", ""].join("\n"));
      setPublicKey(JSON.stringify({ kty, crv, x, y }, null, 2));
      status.textContent = dataset.made.replace("{}", dataset.fileName);
    } catch {
      status.textContent = dataset.unable; // without https there is no WebCrypto
    }
  }

  function save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/x-pem-file" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), DOWNLOAD_MILLISECONDS);
  }

  function readKeys() {
    document.addEventListener("htmx:after:swap", showKeyTools);
    document.addEventListener("change", async ({ target: field }) => {
      if (!field.matches(".ic #f-key-file") || !field.files.length) return;
      const [file] = field.files;
      field.value = "";
      const text = file.size > KEY_FILE_BYTES ? "" : await file.text().catch(() => "");
      if (PRIVATE_KEY.test(text)) showKeyError(keyTools().dataset.private);
      else if (text) setPublicKey(text);
      else showKeyError(keyTools().dataset.unreadable);
    });
    document.addEventListener("input", ({ target: field }) => {
      if (!field.matches(".ic #f-public_key") || !field.value) return;
      field.setAttribute("aria-invalid", "false");
      byId("f-public_key-m").replaceChildren();
      if (!PRIVATE_KEY.test(field.value)) return;
      field.value = "";
      showKeyError(keyTools().dataset.private);
    });
    showKeyTools();
  }

  function handleClicks() {
    const handlers = { copy, reveal, close, drop, retry, make };
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

  /* The list: one box selects all rows of the page, and their number stands beside the actions. */
  function followSelection() {
    const boxes = () => [...document.querySelectorAll(".ic-list [name=client]")];
    const show = () => {
      const number = boxes().filter((box) => box.checked).length;
      const all = document.querySelector(".ic-list [data-all]");
      const output = document.querySelector(".ic-bulk [data-picked]");
      if (all) {
        all.checked = number > 0 && number === boxes().length;
        all.indeterminate = number > 0 && !all.checked;
      }
      if (output) output.textContent = number;
    };
    document.addEventListener("change", ({ target: box }) => {
      if (box.matches(".ic-list [data-all]")) for (const one of boxes()) one.checked = box.checked;
      if (box.matches(".ic-list [type=checkbox]")) show();
    });
    // After a change nothing is selected any more: a morph would keep the boxes as they were.
    document.addEventListener("ic-changed", () => {
      for (const box of boxes()) box.checked = false;
    });
    document.addEventListener("htmx:after:swap", show);
  }

  /* The handover: Done closes its dialog. */
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
  reportFailures();
  checkServerBeforeSubmit();
  showPendingRequests();
  keepEdits();
  followValidity();
  announceFieldMessages();
  removeToasts();
  keepSecretsShown();
  restoreFocus();
  showMenus();
  moveInMenus();
  closeMenusByTheirLink();
  focusFieldsWithErrors();
  handleClicks();
  followInput();
  closeHandover();
  followSelection();
  readKeys();

  touchSecretFields(document);
  document.querySelector(".ic [autofocus]")?.focus();
})();
