'use strict'
// What kafkajs offers of administration.

const assert = require('assert')
const { ConfigResourceTypes } = require('kafkajs')
const { message } = require('./records')

/** What the active controller decided reaches each broker a moment later. */
const until = async condition => {
  for (let round = 0; round < 100; round++) {
    if (await condition()) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error('it did not come true in 10 s')
}

const checks = (admin, topic, put) => {
  const partitionsOf = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }
  const retention = async () => {
    const told = await admin.describeConfigs({ includeSynonyms: false, resources: [resource] })
    return told.resources[0].configEntries[0].configValue
  }
  const first = async () => (await admin.fetchTopicOffsets(topic)).find(one => one.partition === 0)

  const create = async () => {
    const configEntries = [{ name: 'retention.ms', value: '-1' }]
    await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 3, configEntries }] })
    await until(async () => (await admin.listTopics()).includes(topic))
  }
  const alter = async () => {
    const changed = { type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '7200000' }] }
    await admin.alterConfigs({ validateOnly: false, resources: [changed] })
    await until(async () => (await retention()) === '7200000')
  }
  const morePartitions = async () => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await until(async () => (await partitionsOf()).length === 5)
  }
  const byTimestamp = async () => {
    const told = await admin.fetchTopicOffsetsByTimestamp(topic, Number(message(9).timestamp))
    assert.equal(told.find(one => one.partition === 0).offset, '3')
  }
  const deleteRecords = async () => {
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '7' }] })
    assert.equal((await first()).low, '7')
  }
  const reassign = async () => {
    await admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment: [{ partition: 0, replicas: [3, 1] }] }] })
    await until(async () => {
      const moving = await admin.listPartitionReassignments({ topics: [{ topic, partitions: [0] }] })
      return moving.topics.length === 0 && (await partitionsOf()).find(one => one.partitionId === 0).replicas.length === 2
    })
  }
  const remove = async () => {
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !(await admin.listTopics()).includes(topic))
  }

  return [
    ['create topic, list topics', create],
    ['fetch topic metadata', async () => assert.equal((await partitionsOf()).length, 3)],
    ['describe cluster', async () => assert.equal((await admin.describeCluster()).brokers.length, 3)],
    ['describe configs', async () => assert.equal(await retention(), '-1')],
    ['alter configs', alter],
    ['create partitions', morePartitions],
    ['write to it', () => put(topic)],
    ['fetch topic offsets', async () => assert.equal((await first()).high, '20')],
    ['fetch topic offsets by timestamp', byTimestamp],
    ['delete records', deleteRecords],
    ['alter and list partition reassignments', reassign],
    ['delete topic', remove],
  ]
}

module.exports = { checks }
