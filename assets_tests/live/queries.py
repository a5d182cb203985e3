"""The GraphQL texts that `dagster.py` asks with. What the answers mean does not belong here."""

from __future__ import annotations

RUNS = """
query Runs($after: Float!) {
  runsOrError(filter: {createdAfter: $after}, limit: 500) {
    ... on PythonError { message }
    ... on Runs { results { runId status endTime tags { key value } assetSelection { path } } }
  }
}
"""
BACKFILLS = """
query Backfills($after: Float!) {
  partitionBackfillsOrError(filters: {createdAfter: $after}, limit: 100) {
    ... on PythonError { message }
    ... on PartitionBackfills { results { id status endTimestamp isAssetBackfill assetSelection { path } } }
  }
}
"""
BACKFILL_DAYS = """
query BackfillDays($id: String!, $key: AssetKeyInput!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PythonError { message }
    ... on BackfillNotFoundError { message }
    ... on PartitionBackfill {
      partitionsTargetedForAssetKey(assetKey: $key) { partitionKeys ranges { start end } }
    }
  }
}
"""
EVENTS = """
query Events($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNotFoundError { message }
    ... on AssetNode {
      assetMaterializations(limit: 500) {
        partition timestamp
        metadataEntries {
          label
          ... on TextMetadataEntry { valueText: text }
          ... on IntMetadataEntry { valueInt: intRepr }
          ... on MarkdownMetadataEntry { valueMarkdown: mdStr }
          ... on PathMetadataEntry { valuePath: path }
          ... on JsonMetadataEntry { valueJson: jsonString }
        }
      }
    }
  }
}
"""
_REPOSITORY = '{repositoryName: "__repository__", repositoryLocationName: "lakehouse"}'
SENSORS = f"""
query Sensors {{
  sensorsOrError(repositorySelector: {_REPOSITORY}) {{
    ... on PythonError {{ message }}
    ... on RepositoryNotFoundError {{ message }}
    ... on Sensors {{ results {{ name sensorState {{ status }} }} }}
  }}
}}
"""
SENSOR = """
query Sensor($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on PythonError { message }
    ... on SensorNotFoundError { message }
    ... on Sensor {
      name sensorType minIntervalSeconds
      sensorState { ticks(limit: 5) { timestamp status error { message } } }
    }
  }
}
"""
CURSOR = """
query Cursor($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on PythonError { message }
    ... on SensorNotFoundError { message }
    ... on Sensor { id sensorState { typeSpecificData { ... on SensorData { lastCursor } } } }
  }
}
"""
SET_CURSOR = """
mutation SetCursor($selector: SensorSelector!, $cursor: String) {
  setSensorCursor(sensorSelector: $selector, cursor: $cursor) {
    ... on PythonError { message }
    ... on SensorNotFoundError { message }
    ... on Sensor { id }
  }
}
"""
START = """
mutation Start($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) {
    ... on PythonError { message }
    ... on SensorNotFoundError { message }
    ... on Sensor { id }
  }
}
"""
STOP = """
mutation Stop($id: String!) {
  stopSensor(id: $id) {
    ... on PythonError { message }
    ... on StopSensorMutationResult { instigationState { id } }
  }
}
"""
LAUNCH = """
mutation Launch($selector: JobOrPipelineSelector!) {
  launchPipelineExecution(executionParams: {selector: $selector, runConfigData: {}, mode: "default"}) {
    ... on PythonError { message }
    ... on LaunchRunSuccess { run { runId } }
  }
}
"""
