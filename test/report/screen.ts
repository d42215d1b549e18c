/** A terminal of so many columns, as far as our output goes: it wraps, returns and erases to the end of a line. */
import type { Output } from '../../lib/report/terminal.js'

export class Screen {
  private readonly rows: string[] = ['']
  private column = 0
  constructor(private readonly columns: number) {}

  /** What is typed is echoed where the cursor stands. */
  type(text: string): void {
    this.write(text)
  }

  stream(): Output {
    const write = (text: string) => {
      this.write(text)
      return true
    }
    return { isTTY: true, columns: this.columns, write } as unknown as Output
  }

  lines(): string[] {
    return [...this.rows]
  }

  private write(text: string): void {
    const erase = '\x1b[K'
    for (const piece of text.split(erase).flatMap((run, index) => (index === 0 ? [...run] : [erase, ...run]))) {
      if (piece === erase) this.rows[this.rows.length - 1] = this.rows.at(-1)!.slice(0, this.column)
      else if (piece === '\r') this.column = 0
      else if (piece === '\n') this.newRow()
      else {
        if (this.column === this.columns) this.newRow()
        const at = this.rows.length - 1
        const now = this.rows[at]!
        this.rows[at] = now.slice(0, this.column) + piece + now.slice(this.column + 1)
        this.column++
      }
    }
  }

  private newRow(): void {
    this.rows.push('')
    this.column = 0
  }
}
