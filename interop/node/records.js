'use strict'
// The records of ../python/records.py, where what they are is written down.

const PARTITIONS = 3

const value = number => {
  if (number % 11 === 4 && number % 7 !== 3) return null
  if (number % 11 === 9) return Buffer.alloc(0)
  const made = Buffer.alloc(number % 500 === 499 ? 50000 : (number * 37) % 701 + 1)
  for (let index = 0; index < made.length; index++) made[index] = (number * 131 + index * (number % 17 + 1)) & 255
  return made
}

/** Headers in order: kafkajs takes a map, in which a name that repeats has a list. */
const headers = number => {
  const made = {}
  for (let index = 0; index < number % 4; index++) {
    const name = index === 2 ? 'ключ' : 'h'
    made[name] = [...(made[name] ?? []), Buffer.from(number % 12 === 6 && index === 1 ? '' : `${number}-${index}`)]
  }
  return made
}

const message = number => ({
  key: number % 7 === 3 ? null : Buffer.from(number % 7 === 5 ? '' : `key-${number}`),
  value: value(number),
  headers: headers(number),
  partition: number % PARTITIONS,
  timestamp: String(1700000000000 + number * 137),
})

module.exports = { PARTITIONS, message }
