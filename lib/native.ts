import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { ErrorCode } from './errors.js'
import { AutoprogError, checkOptions, expected } from './errors.js'
import { packageRoot } from './package.js'

/** The only file that loads the addon. Handles are opaque; closing one twice is harmless, using a closed one an error. */

export type DeviceHandle = { readonly _device: unique symbol }
export type SessionHandle = { readonly _session: unique symbol }
export type ProgramHandle = { readonly _program: unique symbol }
export type TypedArray = Float32Array | Int32Array | Uint8Array
export type Values = Record<string, TypedArray>

/** A flat list of ops over tensors with fixed places; `lib/graph/compile.ts` makes it. */
export interface ProgramDescription {
  batch: number
  microBatch: number
  activationBytes: number
  tensors: { arena: number; offset: number; type: 'f32' | 'i32' | 'u8' | 'bf16' | 'f16'; shape: readonly number[] }[]
  nodes: {
    op: string
    phase: 0 | 1 | 2
    inputs: number[]
    outputs: number[]
    attributes: Readonly<Record<string, number | readonly number[]>>
  }[]
  inputs: { name: string; tensor: number; sliced: boolean }[]
  outputs: { name: string; tensor: number; sliced: boolean }[]
}

interface Addon {
  kinds(): string[]
  openDevice(kind: string, index: number, threads: number, tf32: boolean, deterministic: boolean): DeviceHandle
  abandon(): void
  closeDevice(device: DeviceHandle): void
  deviceInfo(device: DeviceHandle): { threads: number } & Record<string, string>
  deviceNotices(device: DeviceHandle): string[]
  /** Bytes, where they are known, for one thing after another: what is reserved counts as taken. */
  freeMemory(device: DeviceHandle): Promise<number | undefined>
  /** Bytes of the host's memory that the process could still have, where they are known. */
  availableMemory(): number | undefined
  hostArray(owner: DeviceHandle | SessionHandle, type: string, count: number): TypedArray
  releaseHostArray(array: ArrayBufferView): void
  createSession(device: DeviceHandle, arenaBytes: readonly number[]): Promise<SessionHandle>
  closeSession(session: SessionHandle): void
  createProgram(session: SessionHandle, description: ProgramDescription): Promise<ProgramHandle>
  closeProgram(program: ProgramHandle): void
  runProgram(program: ProgramHandle, inputs: Values): Promise<Values>
  /** Seconds by op since the program was built; undefined where the device does not time ops. */
  programSeconds(program: ProgramHandle): Promise<Record<string, number> | undefined>
  readArena(session: SessionHandle, arena: number, byteOffset: number, type: string, count: number): Promise<TypedArray>
  writeArena(session: SessionHandle, arena: number, byteOffset: number, values: TypedArray): Promise<void>
  measureGemm(device: DeviceHandle, m: number, n: number, k: number): Promise<number>
  operations(device: DeviceHandle): { name: string; attributes: string[] }[]
  transformImages(
    sources: readonly (Uint8Array | undefined)[],
    channels: number,
    plans: Float64Array,
    height: number,
    width: number,
    target: Uint8Array,
    offset: number,
  ): Promise<number>
  transformJpeg(
    source: Uint8Array | string,
    size: { height: number; width: number },
    plan: Float64Array,
    options: { exact: boolean; verify: boolean; height: number; width: number },
    target: Uint8Array,
    offset: number,
  ): Promise<[number, number] | undefined>
  jpegDecoder(): string
  drawPhilox(...words: [number, number, number, number, number, number]): number[]
}

const require = createRequire(import.meta.url)
let loaded: Addon | undefined

/** Loads the addon on first use. Throws BUILD when it is not there or does not load. */
export function addon(): Addon {
  loaded ??= load()
  return loaded
}

function load(): Addon {
  const path = findAddon()
  try {
    const found = require(path) as Addon
    process.once('exit', () => found.abandon()) // a step under way must not outlive the libraries it uses
    return found
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new AutoprogError('BUILD', `The native addon ${path} does not load: ${message}`, {
      hint: 'Build it again with `npm rebuild autoprog`; `autoprog doctor` says what it needs.',
      cause,
    })
  }
}

/** AUTOPROG_ADDON, this package's build folder, or a prebuilt package for the platform, in this order. */
function findAddon(): string {
  const given = process.env.AUTOPROG_ADDON
  if (given) return given
  const built = join(packageRoot(), 'build', 'Release', 'autoprog.node')
  if (existsSync(built)) return built
  try {
    return require.resolve(`${prebuiltPackage()}/autoprog.node`)
  } catch (cause) {
    throw new AutoprogError('BUILD', `The native addon is not built: ${built} does not exist`, {
      hint: 'The install script was blocked or failed. Run `npm rebuild autoprog` and read its message.',
      cause,
    })
  }
}

/** The optional package that carries the addon of this platform; scripts/install.mjs builds nothing where it is there. */
function prebuiltPackage(): string {
  const report = process.platform === 'linux' ? (process.report.getReport() as { header?: object }) : undefined
  const libc = report && (report.header && 'glibcVersionRuntime' in report.header ? '-glibc' : '-musl')
  return `@autoprog/${process.platform}-${process.arch}${libc ?? ''}`
}

const codes = new Set<string>([
  'CONFIG',
  'DATA',
  'IMAGE',
  'SHAPE',
  'DEVICE',
  'MEMORY',
  'NUMERIC',
  'CHECKPOINT',
  'BUILD',
])

/** What JavaScript throws where there is no room for an array. */
const noRoom = /^(Array buffer allocation failed|Invalid (typed )?array length|Invalid array buffer length)/

/** Turns what the addon throws, and JavaScript's own lack of memory, into an AutoprogError; anything else stays as it is. */
export function fromNative(error: unknown): unknown {
  if (error instanceof AutoprogError) return error
  if (error instanceof RangeError && noRoom.test(error.message))
    return new AutoprogError('MEMORY', `There is no memory for another array: ${error.message}`, { cause: error })
  if (!(error instanceof Error) || !('code' in error) || !codes.has(String(error.code))) return error
  const hint = 'hint' in error ? { hint: String(error.hint) } : {}
  return new AutoprogError(error.code as ErrorCode, error.message, { ...hint, cause: error })
}

/** Runs a call of the addon. The stack is captured before it, so that an error shows who asked. */
export async function native<T>(call: () => Promise<T> | T): Promise<T> {
  const origin = new Error('called from')
  try {
    return await call()
  } catch (error) {
    const converted = fromNative(error)
    if (converted instanceof AutoprogError && origin.stack)
      converted.stack = `${converted.name}: ${converted.message}\n${origin.stack.split('\n').slice(2).join('\n')}`
    throw converted
  }
}

const arrayTypes = { f32: Float32Array, i32: Int32Array, u8: Uint8Array } as const
type ArrayType = keyof typeof arrayTypes

/** From so many bytes on an array is worth a block of its own. */
const smallestBlock = 2 ** 16
const hostBuffers = new WeakSet<ArrayBufferLike>()

/**
 * An array of undefined contents in host memory that a device is sent from as it lies there, where it is large enough to matter:
 * page-locked for a GPU, and used again once the array is released or garbage. Whoever gives it to a call changes it no more: it is read
 * while JavaScript goes on. For batches of our own making, which no caller ever sees. Throws MEMORY where there is none.
 */
export function hostArray<T extends ArrayType>(
  owner: DeviceHandle | SessionHandle,
  type: T,
  length: number,
): InstanceType<(typeof arrayTypes)[T]> {
  const make = arrayTypes[type]
  try {
    if (length * make.BYTES_PER_ELEMENT < smallestBlock) return new make(length) as InstanceType<(typeof arrayTypes)[T]>
    const array = addon().hostArray(owner, type, length)
    hostBuffers.add(array.buffer)
    return array as InstanceType<(typeof arrayTypes)[T]>
  } catch (error) {
    throw fromNative(error)
  }
}

/**
 * Takes the memory of a host array back for the next one, once no call is given it any more: its length is 0 from then on. Steps
 * under way keep what they were given. Other arrays stay what they are.
 */
export function hostRelease(array: ArrayBufferView): void {
  if (hostBuffers.has(array.buffer) && array.byteLength > 0) addon().releaseHostArray(array)
}

/**
 * A copy of a caller's array, for a device. A host array is its own, since nobody changes it; and what no call accepts, for its
 * type or as memory that is shared or lost, stays what it is.
 */
export function hostCopy<T extends ArrayBufferView>(owner: DeviceHandle | SessionHandle, array: T): T {
  const type = (Object.keys(arrayTypes) as ArrayType[]).find((name) => array instanceof arrayTypes[name])
  const { buffer, byteLength } = array
  if (type === undefined || byteLength === 0 || buffer instanceof SharedArrayBuffer || hostBuffers.has(buffer))
    return array
  const given = array as ArrayBufferView as TypedArray
  const copy: TypedArray = hostArray(owner, type, given.length)
  copy.set(given)
  return copy as ArrayBufferView as T
}

/** Memory for a loader's batches, from which a device is sent as it lies there. */
export const hostBytes = (device: Device) => (bytes: number) => hostArray(device.handle, 'u8', bytes)

/** A device that computes, by one compute thread of its own; on the processor more share its loops. */
export interface Device {
  /** `cuda-emulated` runs the CUDA kernels on the processor, slowly: it is for tests, and only in builds made for them. */
  readonly kind: DeviceKind
  /** `cpu`, or the GPU's name. */
  readonly name: string
  readonly threads: number
  /** What else is known of it, such as the processor's vector instructions and the library for products. */
  readonly features: Readonly<Record<string, string>>
  readonly handle: DeviceHandle
  /** Seconds of an f32 product (m, k) x (k, n), the best of several. */
  measureGemm(m: number, n: number, k: number): Promise<number>
  /** What it has to tell since it was last asked, such as that something slow took the place of a library. */
  notices(): string[]
  /** Ends the compute thread once all work is done; harmless when repeated. */
  close(): Promise<void>
}

export interface DeviceOptions {
  threads?: number | 'auto'
  tf32?: boolean
  deterministic?: boolean
}

const deviceKinds = ['cpu', 'cuda', 'cuda-emulated'] as const
export type DeviceKind = (typeof deviceKinds)[number]

/**
 * Opens a device: `cpu`, `cuda` (the first GPU), `cuda:1`, …, or `auto`, a GPU where one can be used and else the
 * processor. Throws DEVICE for anything that is not there, naming the missing piece: what is asked for by name never falls
 * back in silence.
 *
 * @param options.threads threads of every kernel on the processor; all cores ('auto') unless given
 * @param options.tf32 whether f32 products on a GPU may round their factors to TF32 (10 bits of mantissa), which its tensor
 * cores multiply; false unless given
 * @param options.deterministic whether a GPU's algorithms are chosen by rule rather than by their times, so that results are
 * the same bits in every process; false unless given
 */
export async function openDevice(name = 'auto', options: DeviceOptions = {}): Promise<Device> {
  const { threads: asked, tf32, deterministic } = resolveOptions(options)
  if (name === 'auto') return openDevice('cuda', options).catch(() => openDevice('cpu', options))
  const [, kind, index] = (typeof name === 'string' && /^(cpu|cuda|cuda-emulated)(?::(\d{1,3}))?$/.exec(name)) || []
  if (kind === undefined || (kind === 'cpu' && index !== undefined))
    throw new AutoprogError('DEVICE', expected('auto, cpu, cuda or cuda:N', 'device', name))
  if (!addon().kinds().includes(kind))
    throw new AutoprogError('DEVICE', `There is no CUDA backend in this build, so ${name} cannot be opened`, {
      hint: "Use device 'cpu' (or 'auto'), or install a CUDA toolkit and build again with `npm rebuild autoprog`.",
    })
  const opening = native(() => addon().openDevice(kind, Number(index ?? 0), asked, tf32, deterministic))
  const handle = await opening.catch((error) => {
    throw kind === 'cpu' ? withThreadsHint(error, asked) : error
  })
  const { threads, ...features } = addon().deviceInfo(handle)
  return {
    kind: kind as DeviceKind,
    name: features.name ?? kind,
    threads,
    features,
    handle,
    measureGemm: (m, n, k) => native(() => addon().measureGemm(handle, m, n, k)),
    notices: () => addon().deviceNotices(handle),
    close: async () => addon().closeDevice(handle),
  }
}

const mostThreads = 1024

function resolveOptions(options: DeviceOptions): { threads: number; tf32: boolean; deterministic: boolean } {
  checkOptions('the options of a device', options, { tf32: 'boolean', deterministic: 'boolean' })
  const { threads = 'auto', tf32 = false, deterministic = false } = options
  if (threads === 'auto') return { threads: Math.min(availableParallelism(), mostThreads), tf32, deterministic }
  if (!Number.isInteger(threads) || threads < 1 || threads > mostThreads)
    throw new AutoprogError(
      'CONFIG',
      expected(`auto or an integer from 1 to ${mostThreads}`, 'threads of a device', threads),
    )
  return { threads, tf32, deterministic }
}

function withThreadsHint(error: unknown, threads: number): unknown {
  if (!(error instanceof AutoprogError && (error.code === 'DEVICE' || error.code === 'MEMORY'))) return error
  const hint = `Ask for fewer threads than ${threads}, or let the process have more threads and memory: see ulimit -u and -v, and the limits of the container.`
  return new AutoprogError(error.code, error.message, { hint, cause: error })
}
