// A program of someone else's: produces records with the Java client and its default partitioner, as a till would.
//
// Arguments: --brokers HOST:PORT [--transactional-id ID (--commit | --abort)]
// Standard input, one JSON object per line:
//   {"topic": "sales", "key": "10/CA" | null, "value": "3" | null, "headers"?: {"event-id": "…"}, "partition"?: 0,
//    "timestamp"?: 1700000000000}
// Standard output, one line per record, in order: TOPIC PARTITION OFFSET

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

public final class RecordProducer {
    private record Options(String brokers, String transactionalId, boolean commit) {
        static Options parse(String[] arguments) {
            List<String> given = List.of(arguments);
            String brokers = valueOf(given, "--brokers");
            String transactionalId = valueOf(given, "--transactional-id");
            boolean commit = given.contains("--commit");
            if (brokers == null) throw new IllegalArgumentException("--brokers is missing");
            if ((transactionalId != null) != (commit ^ given.contains("--abort"))) {
                throw new IllegalArgumentException("--transactional-id goes with either --commit or --abort");
            }
            return new Options(brokers, transactionalId, commit);
        }

        private static String valueOf(List<String> given, String name) {
            int at = given.indexOf(name);
            return at >= 0 && at + 1 < given.size() ? given.get(at + 1) : null;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Options options = Options.parse(arguments);
        List<ProducerRecord<String, String>> records = readRecords();
        List<RecordMetadata> written;
        try (Producer<String, String> producer = new KafkaProducer<>(settings(options))) {
            if (options.transactionalId() == null) {
                written = sendAll(producer, records);
            } else {
                producer.initTransactions();
                producer.beginTransaction();
                written = sendAll(producer, records);
                if (options.commit()) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
        for (RecordMetadata record : written) {
            System.out.println(record.topic() + " " + record.partition() + " " + record.offset());
        }
    }

    private static Properties settings(Options options) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.brokers());
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", StringSerializer.class.getName());
        if (options.transactionalId() != null) settings.put("transactional.id", options.transactionalId());
        return settings;
    }

    /** Waits for every record to be acknowledged; throws the first failure. */
    private static List<RecordMetadata> sendAll(
            Producer<String, String> producer, List<ProducerRecord<String, String>> records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (ProducerRecord<String, String> record : records) sent.add(producer.send(record));
        producer.flush();
        List<RecordMetadata> written = new ArrayList<>();
        for (Future<RecordMetadata> future : sent) written.add(future.get());
        return written;
    }

    private static List<ProducerRecord<String, String>> readRecords() throws Exception {
        ObjectMapper json = new ObjectMapper();
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            if (!line.isBlank()) records.add(readRecord(json.readTree(line)));
        }
        return records;
    }

    private static ProducerRecord<String, String> readRecord(JsonNode line) {
        Integer partition = line.hasNonNull("partition") ? line.get("partition").asInt() : null;
        Long timestamp = line.hasNonNull("timestamp") ? line.get("timestamp").asLong() : null;
        String topic = line.required("topic").asText();
        String key = line.hasNonNull("key") ? line.get("key").asText() : null;
        String value = line.hasNonNull("value") ? line.get("value").asText() : null;
        var record = new ProducerRecord<>(topic, partition, timestamp, key, value);
        for (Map.Entry<String, JsonNode> header : line.path("headers").properties()) {
            record.headers().add(header.getKey(), header.getValue().asText().getBytes(StandardCharsets.UTF_8));
        }
        return record;
    }
}
