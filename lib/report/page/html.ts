/** A page that is one file: its style inside, in light and dark. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as a page shows it, whatever it holds. */
export const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character]!)

const style = `
:root { color-scheme: light dark; --ink: #1c1f23; --quiet: #667078; --line: #dfe3e7; --paper: #ffffff; --mark: 33, 102, 172;
  --good: #2c7fb8; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #98a2ab; --line: #343a40; --paper: #16191c;
  --mark: 107, 174, 214; --good: #6baed6; --bad: #ef6a5a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 75rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0 .75rem; } .quiet { color: var(--quiet); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.figure { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; min-width: 8rem; }
.figure b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th { font-weight: 600; text-align: left; }
th, td { padding: .2rem .6rem; } td.number, th.number { text-align: right; }
.scroll { overflow-x: auto; }
.bar { display: inline-block; width: 9rem; height: .65rem; border-radius: .2rem; background: var(--line); vertical-align: middle; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--good); }
.matrix td { text-align: center; min-width: 2.4rem; padding: .25rem; border: 1px solid var(--line); }
.matrix th.turned { vertical-align: bottom; padding: .25rem; } .matrix th.turned span { writing-mode: vertical-rl; transform: rotate(180deg); }
.matrix td.own { outline: 2px solid var(--good); outline-offset: -2px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .9rem; padding: 0; list-style: none; }
.sheet img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--line); border-radius: .4rem; image-rendering: auto; }
.sheet .name { color: var(--quiet); font-size: .8rem; overflow-wrap: anywhere; }
.guess { color: var(--bad); font-weight: 600; } canvas { width: 100%; max-width: 48rem; border: 1px solid var(--line); image-rendering: pixelated; }
`

/** A whole page; `body` is HTML. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
${body}
</body>
</html>
`
}
