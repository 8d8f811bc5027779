// Which partition Kafka's own Java client chooses: the vectors that the TypeScript partitioner is tested against.
//
// test/schema/partitioner-vectors.json is this program's output. test/system/partitioner-vectors.test.ts compares the
// two with every run; to write the file anew:
//   UPDATE_VECTORS=1 npx vitest run --project system test/system/partitioner-vectors.test.ts

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.utils.Utils;

/** Prints a JSON line {key, partitions, murmur2, partition} per key and partition count; takes no arguments. */
public final class PartitionerVectors {
    /** Powers of two hide an error in masking the hash's sign, so others are among them. */
    private static final int[] PARTITION_COUNTS = {1, 2, 12, 16, 64, 100, 256};

    private static final int RANDOM_KEYS = 300;
    private static final long SEED = 20_261_123L;
    private static final String ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    private static final int ID_LENGTH_MAX = 64;

    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String key : keys()) {
            int hash = Utils.murmur2(key.getBytes(StandardCharsets.UTF_8));
            for (int partitions : PARTITION_COUNTS) {
                Map<String, Object> vector = new LinkedHashMap<>();
                vector.put("key", key);
                vector.put("partitions", partitions);
                vector.put("murmur2", hash);
                vector.put("partition", Utils.toPositive(hash) % partitions);
                out.println(json.writeValueAsString(vector));
            }
        }
        out.flush();
    }

    private static List<String> keys() {
        List<String> keys = new ArrayList<>();
        // The empty key, and every remainder of a length by 4: the hash reads four bytes at a time.
        keys.addAll(List.of("", "a", "ab", "abc", "abcd", "abcde", "10/CA", "100:48069", "100/48069"));
        // Two, three and four bytes a character; bytes above 127 are where sign extension goes wrong.
        keys.addAll(List.of("é", "Zürich/Größe-42", "東京/りんご", "Москва/чай", "🛒/📦", "\u007f\u0080\u07ff\u0800\uffff"));
        keys.addAll(List.of("a".repeat(64) + "/" + "Z".repeat(64), "0/0", "-/-", "store.1/item_1-a"));
        Random random = new Random(SEED);
        for (int made = 0; made < RANDOM_KEYS; made += 1) keys.add(randomId(random) + "/" + randomId(random));
        return keys;
    }

    private static String randomId(Random random) {
        int length = 1 + random.nextInt(random.nextBoolean() ? 8 : ID_LENGTH_MAX);
        StringBuilder id = new StringBuilder();
        for (int index = 0; index < length; index += 1) {
            id.append(ID_CHARACTERS.charAt(random.nextInt(ID_CHARACTERS.length())));
        }
        return id.toString();
    }
}
