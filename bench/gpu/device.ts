/** Whether a device opens, and what it is: node --import tsx bench/gpu/device.ts DEVICE */
import { openDevice } from '../../lib/index.js'
import { addon } from '../../lib/native.js'
import { describeMachine } from '../../lib/report/machine.js'

const start = performance.now()
const device = await openDevice(process.argv[2]!)
const openSeconds = (performance.now() - start) / 1000
const info = addon().deviceInfo(device.handle)
const freeGiB = ((await addon().freeMemory(device.handle)) ?? 0) / 2 ** 30
const size = device.kind === 'cuda' ? 4096 : 64
const seconds = await device.measureGemm(size, size, size)
await device.close()
console.log(
  JSON.stringify({
    summary: `${info.name}, capability ${info.capability}, ${freeGiB.toFixed(1)} GiB free, ${info.gemm}, open in ${openSeconds.toFixed(1)} s`,
    ...{ info, freeGiB, openSeconds, machine: describeMachine(), gemmTeraflops: (2 * size ** 3) / seconds / 1e12 },
  }),
)
