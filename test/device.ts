import type { Device, DeviceOptions } from '../lib/native.js'
import { openDevice } from '../lib/native.js'

/** The device under test: AUTOPROG_DEVICE (cuda on a machine with a GPU, cuda-emulated elsewhere), or the processor. */
export const openTestDevice = (options: DeviceOptions = {}): Promise<Device> =>
  openDevice(process.env.AUTOPROG_DEVICE ?? 'cpu', { threads: 2, ...options })
