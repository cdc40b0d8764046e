/** Small helpers to build the page; all texts are set as text, never as HTML. */
type Child = Node | string | null | undefined | false;
type Settings = Record<string, string | boolean | ((event: Event) => void)>;

export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  settings: Settings = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(settings)) {
    if (typeof value === "function") found.addEventListener(key, value);
    else if (value === true) found.setAttribute(key, "");
    else if (value !== false) found.setAttribute(key, value);
  }
  found.append(...children.filter((child): child is Node | string => !!child));
  return found;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}
