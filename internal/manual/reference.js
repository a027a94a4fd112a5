// Shows the OpenAPI document that the page names, in the colours that the system is set to.
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
follow();
dark.addEventListener('change', follow);

const reference = document.getElementById('reference');
SwaggerUIBundle({
  domNode: reference,
  url: reference.dataset.document,
  deepLinking: true,
  supportedSubmitMethods: [], // credentials are not for pages
  validatorUrl: null, // the document goes to nobody
});
