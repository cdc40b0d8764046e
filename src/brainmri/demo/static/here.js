// The address of this page, for the snippets: known in the browser only, whatever stands before the server.
const here = new URL(".", window.location.href).href;
for (const place of element.querySelectorAll(".here")) place.textContent = here;
