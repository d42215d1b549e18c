/** The service of the examples, as a process of its own, under load. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join, resolve } from 'node:path'
import { json } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { trainSmall } from '../inference/trained-run.js'
import { test } from '../serial.js'

const { folder, run, pictures } = await trainSmall()
const labels = Object.keys(pictures)

/** The example as a user has it, beside an installed package. */
function start() {
  const installed = join(folder, 'node_modules', 'autoprog')
  mkdirSync(installed, { recursive: true })
  const manifest = { name: 'autoprog', version: '1.0.0', type: 'module', exports: './index.js' }
  writeFileSync(join(installed, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(installed, 'index.js'), `export * from '${pathToFileURL(resolve('lib/index.ts')).href}'`)
  writeFileSync(join(folder, 'serve.mjs'), readFileSync('examples/serve.mjs'))
  const loader = fileURLToPath(import.meta.resolve('tsx'))
  const child = spawn(process.execPath, ['--import', loader, 'serve.mjs', run], {
    ...{ cwd: folder, env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] },
  })
  const port = once(child.stdout!, 'data').then(([chunk]) => Number(/listening on (\d+)/.exec(String(chunk))![1]))
  return { child, port }
}

const agent = new Agent({ keepAlive: true, maxSockets: 32 })

async function post(port: number, path: string, body: Uint8Array, method = 'POST') {
  const sent = request({ ...{ port, path, method, agent }, headers: { 'content-length': body.length } })
  sent.end(body)
  const [response] = await once(sent, 'response')
  return {
    status: response.statusCode as number,
    value: (await json(response)) as { label: string }[] & { error?: string },
  }
}

/** Bytes that a process holds. */
const held = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024

test('2,000 requests, 32 at a time, are answered each by its own, in flat memory, and the service ends when asked', async (t) => {
  const { child, port: listening } = start()
  t.teardown(() => child.kill('SIGKILL'))
  const port = await listening
  const bodies = labels.map((label) => pictures[label]!.slice(0, 4).map((path) => readFileSync(path)))
  const expected = await Promise.all(
    bodies.map((group) =>
      Promise.all(group.map(async (body) => (await post(port, '/classify', body)).value[0]!.label)),
    ),
  )
  let answered = 0
  const load = async (count: number) => {
    let next = 0
    const lane = async () => {
      while (next < count) {
        const [label, index] = [next % labels.length, (next >> 1) % 4]
        next++
        const { status, value } = await post(port, '/classify', bodies[label]![index]!)
        if (status === 200 && value[0]!.label === expected[label]![index]) answered++
      }
    }
    await Promise.all(Array.from({ length: 32 }, lane))
  }
  await load(500)
  const before = held(child.pid!)
  await load(1500)
  t.is(answered, 2000)
  const grown = held(child.pid!) - before
  t.true(grown < 48 * 2 ** 20, `${Math.round(grown / 2 ** 20)} MiB more`)

  t.is((await post(port, '/classify', Buffer.from('no picture'))).status, 422)
  t.is((await post(port, '/elsewhere', Buffer.alloc(0))).status, 404)
  t.is((await post(port, '/health', Buffer.alloc(0), 'GET')).status, 200)
  agent.destroy()
  child.kill('SIGTERM')
  const [status] = await once(child, 'close')
  t.is(status, 0)
})
