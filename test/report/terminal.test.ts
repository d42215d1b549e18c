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
