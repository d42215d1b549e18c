import ava from 'ava'

/**
 * AVA's tests, one after another within a file: they share its device and its folders. Files run side by side, which AVA's own
 * setting `serial` would end.
 */
export const test = ava.serial
