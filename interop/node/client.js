'use strict'
// kafkajs against a cluster; commands and what they print as in ../python/client.py. It reads in a group only.

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const { message } = require('./records')
const admin = require('./admin')

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

/** kafkajs has gzip of its own, and a place for the others. */
const registerCodecs = async () => {
  const zstd = require('@bokuweb/zstd-wasm')
  const Lz4 = require('kafkajs-lz4')
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
  CompressionCodecs[CompressionTypes.LZ4] = new Lz4().codec
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
}

const attempt = async (name, action) => {
  try {
    await action()
    console.log(`ok    ${name}`)
  } catch (error) {
    console.log(`FAIL  ${name}: ${error}`)
  }
}

const write = async (kafka, topic, codec, count) => {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let from = 0; from < count; from += 500) {
    const messages = Array.from({ length: Math.min(500, count - from) }, (_, index) => message(from + index))
    await producer.send({ topic, messages, acks: -1, compression: CODECS[codec] })
  }
  await producer.disconnect()
}

/** Reads in a group until it is told to leave: see ../python/client.py. */
const member = async (kafka, topic, groupId) => {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200,
    metadataMaxAge: 1000, retry: { retries: 100, maxRetryTime: 1000 } })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  process.on('SIGTERM', async () => {
    await consumer.disconnect()
    process.exit(0)
  })
  await consumer.run({
    autoCommitInterval: 200,
    eachMessage: async ({ partition, message }) => console.log(`${partition} ${message.offset} ${message.value}`),
  })
}

const main = async () => {
  const [client, command, boot, ...rest] = process.argv.slice(2)
  if (command === 'codecs') return console.log(Object.keys(CODECS).join(' '))
  const kafka = new Kafka({ clientId: 'interop', brokers: boot.split(','), logLevel: logLevel.ERROR })
  await registerCodecs()
  if (command === 'write') {
    const [topic, codec, count] = rest
    await attempt(`${client} writes ${count} records with ${codec}`, () => write(kafka, topic, codec, Number(count)))
  } else if (command === 'member') {
    await member(kafka, ...rest)
  } else if (command === 'admin') {
    const used = kafka.admin()
    await used.connect()
    const put = topic => write(kafka, topic, 'none', 60)
    for (const [name, action] of admin.checks(used, `admin-${client}`, put)) await attempt(`${client}: ${name}`, action)
    await used.disconnect()
  } else {
    throw new Error(command)
  }
}

main()
