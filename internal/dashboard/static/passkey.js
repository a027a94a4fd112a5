// Passkeys. What carries data-passkey ("get" or "create") asks the browser for one, with the options beside it, and sends its form
// with the answer. It is hidden until there is a browser that can.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const base64url = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

// What is asked, as the browser takes it.
function options(asked) {
  const o = JSON.parse(asked.dataset.options);
  o.challenge = bytes(o.challenge);
  for (const c of [...(o.allowCredentials ?? []), ...(o.excludeCredentials ?? [])]) c.id = bytes(c.id);
  if (o.user) {
    o.user.id = bytes(o.user.id);
    const email = asked.form?.elements.email?.value; // of the first operator, who only now says who that is
    if (email) o.user.name = o.user.displayName = email;
  }
  return o;
}

// What is answered, as the server takes it.
function answer(credential) {
  const r = credential.response;
  const response = { clientDataJSON: base64url(r.clientDataJSON) };
  for (const name of ['attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
    if (r[name]) response[name] = base64url(r[name]);
  }
  if (r.getTransports) response.transports = r.getTransports();
  return JSON.stringify({ id: credential.id, rawId: base64url(credential.rawId), type: credential.type, response });
}

let waiting; // for a passkey that is chosen where one would type

async function ask(asked, more = {}) {
  const publicKey = options(asked);
  const credential = await navigator.credentials[asked.dataset.passkey]({ publicKey, ...more });
  if (!credential) return;
  const form = asked.form;
  form.elements.answer.value = answer(credential);
  form.submit();
}

async function pressed(asked) {
  const wrong = document.getElementById(asked.dataset.wrong);
  wrong.hidden = true;
  waiting?.abort();
  asked.disabled = true;
  try {
    await ask(asked);
  } catch (e) {
    wrong.textContent = e.name === 'InvalidStateError' ? 'This device has a passkey for you already.' : 'No passkey was used. Try again, or choose another way.';
    wrong.hidden = false;
  }
  asked.disabled = false;
}

if (window.PublicKeyCredential) {
  for (const asked of document.querySelectorAll('[data-passkey]')) {
    asked.closest('.passkey').hidden = false;
    asked.addEventListener('click', () => {
      if (asked.dataset.wants === undefined || asked.form.elements[asked.dataset.wants].reportValidity()) pressed(asked);
    });
  }
  // Passkeys are offered where the e-mail address is typed, by browsers that do so.
  const typed = document.querySelector('input[autocomplete~="username"]');
  const asked = document.querySelector('[data-passkey][data-autofill]');
  if (typed && asked && (await PublicKeyCredential.isConditionalMediationAvailable?.())) {
    typed.autocomplete = 'username webauthn';
    waiting = new AbortController();
    ask(asked, { mediation: 'conditional', signal: waiting.signal }).catch(() => {});
  }
}
