import { failureText, shellWord } from '../../lib/cli/command.js'
import { plain } from '../../lib/report/terminal.js'
import { test } from '../serial.js'

const failure = { code: 'CONFIG', message: 'There is no recipe of that name', hint: 'recipes: one, two, three, four' }

test('a failure fits the terminal, in its colours; a command in it stays on one line', (t) => {
  t.is(failureText(failure, plain), `error CONFIG: ${failure.message}\nhint: ${failure.hint}`)
  t.is(
    failureText(failure, { width: 24, colors: false }),
    'error CONFIG: There is\n  no recipe of that name\nhint: recipes: one, two,\n  three, four',
  )
  const coloured = failureText({ code: 'DATA', message: 'x', hint: null }, { width: 24, colors: true })
  t.is(coloured, '\x1b[31merror DATA:\x1b[39m x')
  const command = failureText(
    { ...failure, hint: 'npx autoprog train --resume --out runs/first' },
    { width: 24, colors: false },
  )
  t.regex(command, /\nhint: npx autoprog train --resume --out runs\/first$/)
})

test('a path is quoted where a shell would take it apart', (t) => {
  t.is(shellWord('runs/a-0'), 'runs/a-0')
  t.is(shellWord('my runs/a'), "'my runs/a'")
  t.is(shellWord("it's"), `'it'\\''s'`)
})
