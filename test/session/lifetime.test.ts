import { checkEnding, endings } from '../endings.js'
import { test } from '../serial.js'

for (const ending of endings)
  test(`a session that nobody closed ends with its process: ${ending[0]}`, (t) =>
    checkEnding(t, 'test/session/abandoned.ts', ending))
