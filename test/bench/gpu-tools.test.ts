import { readCounters } from '../../bench/gpu/counters.js'
import { readLog } from '../../bench/gpu/sanitize.js'
import { test } from '../serial.js'

// What compute-sanitizer's tools print, in their own form; the kernels are made up.
const memcheck = `========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at void autoprog::cuda::(anonymous namespace)::addKernel<float>(const float *, float *, long)+0x90
=========     by thread (0,0,0) in block (3,0,0)
=========     Address 0x7f1b2c000200 is out of bounds
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: cudaLaunchKernelExC_v11060 [0x76d15] in autoprog.node
=========
========= ERROR SUMMARY: 1 error
`
const initcheck = `========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 16 bytes
=========     at sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64+0x1230
=========     by thread (32,0,0) in block (0,0,0)
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: autoprog::cuda::launch [0x76d15] in autoprog.node
=========
========= ERROR SUMMARY: 1 error
`
const racecheck = `========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at void autoprog::cuda::normKernel<float>(int)+0x1f0
=========     and Read access at void autoprog::cuda::normKernel<float>(int)+0x250 [64 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
`

test('reports of our own kernels count, those of others do not, whoever launched them', (t) => {
  const { own, others } = readLog(memcheck)
  t.is(own.length, 1)
  t.is(others, 0)
  t.regex(own[0]!, /^Invalid __global__ write[\s\S]*addKernel<float>[\s\S]*out of bounds$/)
  t.deepEqual(readLog(initcheck), { own: [], others: 1 })
  t.is(readLog(racecheck).own.length, 1)
})

test('a clean log has no reports', (t) => {
  t.deepEqual(readLog('========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n'), { own: [], others: 0 })
})

test('the counters of a kernel are means over its launches, the dearest kernel first', (t) => {
  const names = ['gpu__time_duration.sum', 'dram__throughput.avg.pct_of_peak_sustained_elapsed']
  const others = [
    'sm__throughput.avg.pct_of_peak_sustained_elapsed',
    'sm__warps_active.avg.pct_of_peak_sustained_active',
  ]
  const row = (...fields: string[]) => fields.map((field) => `"${field}"`).join()
  const csv = [
    '==PROF== Connected to process 7',
    row('ID', 'Kernel Name', ...names, ...others, 'launch__registers_per_thread'),
    row('', '', 'ns', '%', '%', '%', 'register/thread'),
    row('0', '_ZN8autoprogA', '1,000', '80', '20', '50', '32'),
    row('1', '_ZN8autoprogB', '9,000', '60', '30', '40', '64'),
    row('2', '_ZN8autoprogA', '3,000', '90', '40', '60', '32'),
  ].join('\n')
  const [first, second] = readCounters(csv)
  t.is(first!.kernel, '_ZN8autoprogB')
  t.deepEqual(second, {
    ...{ kernel: '_ZN8autoprogA', launches: 2, nanoseconds: 2000, memoryPercent: 85 },
    ...{ multiprocessorPercent: 30, warpsPercent: 55, registers: 32 },
  })
  t.deepEqual(readCounters('==ERROR== no permission'), [])
})
