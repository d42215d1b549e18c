#!/usr/bin/env node
// libuv reads the size of its pool when the first module is loaded from disk, so that it has to be set before any is: images
// are decoded and augmented on these threads, one a core.
const { availableParallelism } = require('node:os') as typeof import('node:os')
process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()))
void import('./main.js')
