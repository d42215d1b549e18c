import { clearStatus, lookOf, type Output, paint, plain, printLine, showStatus } from '../../lib/report/terminal.js'
import { test } from '../serial.js'
import { Screen } from './screen.js'

test('a terminal has its width and colours, all else neither', (t) => {
  const terminal = (columns: number, colors: boolean) =>
    ({ isTTY: true, columns, hasColors: () => colors }) as unknown as Output
  t.deepEqual(lookOf(terminal(100, true)), { width: 100, colors: true })
  t.deepEqual(lookOf(terminal(0, false)), { width: 80, colors: false })
  t.deepEqual(lookOf({ isTTY: false, columns: 100 } as unknown as Output), plain)
  t.is(paint({ width: 80, colors: true }, 'red', 'x'), '\x1b[31mx\x1b[39m')
  t.is(paint(plain, 'red', 'x'), 'x')
})

test('lines stand above the status, whichever stream they come by, and nothing is left of it', (t) => {
  const screen = new Screen(40)
  const [out, error] = [screen.stream(), screen.stream()]
  showStatus(out, 'half of it')
  screen.type('^C')
  printLine(error, 'SIGINT: stopping')
  showStatus(out, 'a longer status than before')
  showStatus(out, 'done')
  t.deepEqual(screen.lines(), ['SIGINT: stopping', 'done'])
  clearStatus()
  screen.type('^C')
  printLine(out, 'the end')
  clearStatus()
  clearStatus()
  t.deepEqual(screen.lines(), ['SIGINT: stopping', 'the end', ''])
})

test('what would command the terminal is written as escapes, except for lines and own colours', (t) => {
  const written: string[] = []
  const stream = { write: (text: string) => void written.push(text) } as unknown as Output
  const red = paint({ width: 80, colors: true }, 'red', 'error')
  printLine(stream, `${red} a\x1b[2J\x07\u202e.png\nb\x7f\tc\r`)
  t.deepEqual(written, [`${red} a\\u001b[2J\\u0007\\u202e.png\nb\\u007f\tc\\u000d\n`])
  printLine(stream, JSON.stringify({ name: 'a\x7f\u202e' }))
  t.deepEqual(JSON.parse(written[1]!), { name: 'a\x7f\u202e' }, 'JSON stays JSON')
})
