// Files that take longest begin first, so that none of them runs on alone at the end.
const long = ['native/cuda', 'session/precision', 'session/loss-scaling', 'session/session', 'training/trainer', 'cli/main']
const rank = (file) => {
  const found = long.findIndex((name) => file.endsWith(`/${name}.test.ts`))
  return found < 0 ? long.length : found
}

export default {
  files: ['test/**/*.test.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=tsx'],
  workerThreads: false, // so that the addon is loaded as users load it
  concurrency: 2,
  sortTestFiles: (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
  timeout: '30m', // kernels are compiled for four kinds of GPU
  environmentVariables: { AUTOPROG_CACHE: '' },
}
