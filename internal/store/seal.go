package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"

	"go.etcd.io/bbolt"
)

// sealed is the schema from which on a record stands behind a checksum.
const sealed = 2

// sealLen is what a seal adds to a record: a CRC-32C of key and record.
const sealLen = 4

// seal puts a record's checksum before it.
func seal(key, record []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, record)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, sealLen+len(record)), sum), record...)
}

// unseal is the opposite of seal. What is not as it was written is an error.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < sealLen {
		return nil, fmt.Errorf("the record %q is cut short", key)
	}
	record := value[sealLen:]
	if binary.BigEndian.Uint32(value) != crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, record) {
		return nil, fmt.Errorf("the record %q is not what was written", key)
	}
	return record, nil
}

// sealAll leads from schema 1 to 2.
func sealAll(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketRecords)
	values := make(map[string][]byte) // a bucket is not to be changed while it is walked
	if err := b.ForEach(func(k, v []byte) error {
		values[string(k)] = seal(k, v)
		return nil
	}); err != nil {
		return err
	}
	for k, v := range values {
		if err := b.Put([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// sumMeta is a checksum of all that is in bucketMeta but itself.
func sumMeta(m *bbolt.Bucket) []byte {
	var sum uint32
	cur := m.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if string(k) != string(keySum) {
			sum = crc32.Update(sum, castagnoli, fmt.Appendf(nil, "%s\x00%s\x00", k, v))
		}
	}
	return strconv.AppendUint(nil, uint64(sum), 16)
}
