// Made of openapi.json by `npm run types`; not to be edited.
// sha256 of openapi.json: 29318bdd06eb1449647f50bfc001d25e9265cf88fbaf6338604f66ddb7154698

export interface paths {
    "/v1/generate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Generate
         * @description Compose pieces: as JSON notes with their files, or one piece as audio/midi, audio/wav or image/png.
         */
        post: operations["generate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/continue": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Continue
         * @description Let a MIDI file go on, after its last bar or from a bar; what stands before is not touched.
         */
        post: operations["continue"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/infill": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Infill
         * @description Fill bars or tracks of a MIDI file anew, with a model that was trained for it; all else stays as it is.
         */
        post: operations["infill"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream By Get
         * @description The same for a browser's EventSource: what a query can say of the settings.
         */
        get: operations["stream_by_get"];
        put?: never;
        /**
         * Stream By Post
         * @description Compose, and send note by note as the model decodes.
         */
        post: operations["stream_by_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/analyze": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Analyze
         * @description Describe a MIDI file: key, tempo, attributes, statistics, tracks; with a model also how original it is.
         */
        post: operations["analyze"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/explain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Explain
         * @description How likely a model finds each note of a MIDI file, given all before it, and what else it weighed.
         */
        post: operations["explain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/attention": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Attention
         * @description Which notes a transformer looked at when it chose a note of a MIDI file.
         */
        post: operations["attention"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/blind": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Blind
         * @description Compose a piece by each of two models, told in an order that is drawn and without their names.
         */
        post: operations["blind"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/votes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Votes
         * @description What all votes say, with intervals.
         */
        get: operations["votes"];
        put?: never;
        /**
         * Vote
         * @description Say which piece of a pair is better; the answer tells whose they were. Each pair is voted on once.
         */
        post: operations["vote"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Health
         * @description Whether all models are in service; needs no token.
         */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Models
         * @description The models, what they were trained on, and what each may be asked for.
         */
        get: operations["models"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/styles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Styles
         * @description The styles, with the settings that each has.
         */
        get: operations["list_styles"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Metrics
         * @description Counts and times, as Prometheus reads them.
         */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/reload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Reload
         * @description Load a model's checkpoint (or all) anew; what runs is finished with the old one.
         */
        post: operations["reload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Analysis
         * @description POST /v1/analyze.
         */
        Analysis: {
            /**
             * Key
             * @description the estimated key, such as "G major", or "unknown"
             */
            key: string;
            /** Tempo Estimated Bpm */
            tempo_estimated_bpm: number | null;
            /** Ticks Per Quarter */
            ticks_per_quarter: number;
            /**
             * Attributes
             * @description density, polyphony, mean_pitch, key, ...
             */
            attributes: {
                [key: string]: number | string | null;
            };
            /** Statistics */
            statistics: {
                [key: string]: number | null;
            };
            /** Tracks */
            tracks: components["schemas"]["AnalyzedTrack"][];
            /** Tempos */
            tempos: components["schemas"]["Tempo"][];
            /** Metres */
            metres: components["schemas"]["Metre"][];
            /**
             * Originality
             * @description with a model: how much of the file stands in what it was trained on
             */
            originality?: {
                [key: string]: unknown;
            } | null;
        };
        /**
         * AnalyzedTrack
         * @description A track of a file.
         */
        AnalyzedTrack: {
            /** Name */
            name: string;
            /** Program */
            program: number;
            /** Instrument */
            instrument: string;
            /** Notes */
            notes: number;
            /** Pitch Lowest */
            pitch_lowest: number | null;
            /** Pitch Highest */
            pitch_highest: number | null;
        };
        /**
         * AttentionTold
         * @description POST /v1/attention.
         */
        AttentionTold: {
            /** Model */
            model: string;
            /** Layers */
            layers: number;
            /** Heads */
            heads: number;
            /**
             * Window Notes
             * @description how many notes before the chosen one the model still saw
             */
            window_notes: number;
            /**
             * Weights
             * @description of these; what is missing to 1 went to bars, times, and the note's own tokens
             */
            weights: components["schemas"]["NoteWeight"][];
        };
        /**
         * BlindPair
         * @description POST /v1/blind: two pieces of two models; only a vote tells whose they are.
         */
        BlindPair: {
            /**
             * Pair
             * @description to be voted on once, within an hour
             */
            pair: string;
            /** @description its originality is not told */
            first: components["schemas"]["Piece"];
            second: components["schemas"]["Piece"];
        };
        /**
         * BlindRequest
         * @description Two models that are to be heard without knowing which is which.
         */
        BlindRequest: {
            /**
             * Models
             * @description two names of GET /v1/models
             * @example [
             *       "bach",
             *       "games"
             *     ]
             */
            models: string[];
            /** @description what both are asked; seeds are the server's */
            settings?: components["schemas"]["BlindSettings"];
        };
        /**
         * BlindSettings
         * @description What both are asked: GenerateRequest without model, seed and num_samples.
         */
        BlindSettings: {
            /**
             * Temperature
             * @description below 1 careful, above 1 bold, 0 the likeliest alone
             * @default 0.95
             */
            temperature?: number;
            /**
             * Top K
             * @description only so many of the likeliest tokens; 0: all
             * @default 0
             */
            top_k?: number;
            /**
             * Top P
             * @description the fewest tokens that hold this probability; 1: all
             * @default 0.97
             */
            top_p?: number;
            /**
             * Min P
             * @description only tokens as likely as this share of the likeliest; 0: all
             * @default 0
             */
            min_p?: number;
            /**
             * Typical P
             * @description the most typical tokens of this probability; 1: all
             * @default 1
             */
            typical_p?: number;
            /**
             * Pitch Range
             * @description lowest and highest MIDI pitch of new notes, drums aside; null: the corpus' own ranges
             * @default null
             * @example [
             *       48,
             *       84
             *     ]
             */
            pitch_range?: number[] | null;
            /**
             * Key
             * @description the key that is preferred
             * @default null
             * @example D minor
             */
            key?: string | null;
            /**
             * Key Strength
             * @description nats by which pitches outside the key are held back
             * @default 3
             */
            key_strength?: number;
            /**
             * Instruments
             * @description only these, each of which plays: names or General MIDI programs, -1 or drums
             * @default null
             * @example [
             *       "piano",
             *       "bass",
             *       "drums"
             *     ]
             */
            instruments?: (string | number)[] | null;
            /**
             * Polyphony
             * @description how many notes may sound at once; a word is told to models that know it
             * @default null
             */
            polyphony?: number | ("low" | "medium" | "high") | null;
            /**
             * Density
             * @description notes that begin in a quarter note, all voices together; or a word, see polyphony
             * @default null
             */
            density?: number | ("low" | "medium" | "high") | null;
            /**
             * Rhythm Grid
             * @description grid of onsets in quarter notes, such as 0.25
             * @default null
             */
            rhythm_grid?: number | null;
            /**
             * Mean Pitch
             * @description MIDI pitch; of models that were told it
             * @default null
             */
            mean_pitch?: number | ("low" | "medium" | "high") | null;
            /**
             * Note Length
             * @description quarter notes; of models that were told it
             * @default null
             */
            note_length?: number | ("low" | "medium" | "high") | null;
            /**
             * Harmony
             * @description a chord for each bar, over again: C G Am F
             * @default null
             */
            harmony?: string | null;
            /**
             * Harmony Strength
             * @description nats by which other pitches are held back
             * @default 3
             */
            harmony_strength?: number;
            /**
             * Repetition Penalty
             * @description of pitches that have just been played; 1: none
             * @default 1
             */
            repetition_penalty?: number;
            /**
             * Max Copy Beats
             * @description no longer run of notes is copied from the training set; null: no limit
             * @default null
             */
            max_copy_beats?: number | null;
            /**
             * Grammar
             * @description false: whatever the model says, lawful music or not
             * @default true
             */
            grammar?: boolean;
            /**
             * Conditions
             * @description what the model is told, by name, of what GET /v1/models lists
             */
            conditions?: {
                [key: string]: string | number | null;
            };
            /**
             * Guidance
             * @description how strongly that is followed; 1 as trained, 0 not at all
             * @default 1
             */
            guidance?: number;
            /**
             * Bars
             * @description length; one of bars, seconds, tokens; else 8 bars
             * @default null
             */
            bars?: number | null;
            /**
             * Seconds
             * @description length in seconds
             * @default null
             */
            seconds?: number | null;
            /**
             * Tokens
             * @description length in tokens
             * @default null
             */
            tokens?: number | null;
            /**
             * Best Of
             * @description each sample is the best of so many
             * @default 1
             */
            best_of?: number;
            /**
             * Best By
             * @description likelihood, or a statistic that is to be great: scale_consistency
             * @default likelihood
             */
            best_by?: string;
            /**
             * Temperature Per Type
             * @description of tokens of a type, such as Pitch
             */
            temperature_per_type?: {
                [key: string]: number;
            };
            /**
             * Style
             * @description how it begins: a name of GET /v1/styles
             * @default free
             */
            style?: string | components["schemas"]["StyleAsked"];
            /**
             * Chords
             * @description for styles: C G Am F, or I V vi IV in the key
             * @default null
             */
            chords?: string | null;
            /**
             * Tempo Bpm
             * @description quarter notes a minute; a word is for models that were told tempos
             * @default null
             */
            tempo_bpm?: number | ("low" | "medium" | "high") | null;
            /**
             * Metre
             * @description such as 3/4
             * @default null
             */
            metre?: string | null;
            /**
             * Prompt
             * @description a MIDI file to go on from, in base64
             * @default null
             */
            prompt?: string | null;
            /**
             * Prompt Bars
             * @description only the prompt's first bars
             * @default null
             */
            prompt_bars?: number | null;
            /**
             * Prompt Notes
             * @description only the prompt's first notes
             * @default null
             */
            prompt_notes?: number | null;
        };
        /** Body_analyze */
        Body_analyze: {
            /**
             * File
             * @description a MIDI file; its name is not looked at
             */
            file: string;
            /**
             * Settings
             * @description a AnalyzeRequest as JSON
             * @default {}
             * @example {}
             */
            settings?: string;
        };
        /** Body_attention */
        Body_attention: {
            /**
             * File
             * @description a MIDI file; its name is not looked at
             */
            file: string;
            /**
             * Settings
             * @description a AttentionRequest as JSON
             * @example {}
             */
            settings: string;
        };
        /** Body_continue */
        Body_continue: {
            /**
             * File
             * @description a MIDI file; its name is not looked at
             */
            file: string;
            /**
             * Settings
             * @description a ContinueRequest as JSON
             * @default {}
             * @example {}
             */
            settings?: string;
        };
        /** Body_explain */
        Body_explain: {
            /**
             * File
             * @description a MIDI file; its name is not looked at
             */
            file: string;
            /**
             * Settings
             * @description a ExplainRequest as JSON
             * @default {}
             * @example {}
             */
            settings?: string;
        };
        /** Body_infill */
        Body_infill: {
            /**
             * File
             * @description a MIDI file; its name is not looked at
             */
            file: string;
            /**
             * Settings
             * @description a InfillRequest as JSON
             * @default {}
             * @example {}
             */
            settings?: string;
        };
        /**
         * ExplainedNote
         * @description A note of a file as it stands there, and how likely a model found it.
         */
        ExplainedNote: {
            /** Track */
            track: number;
            /** Program */
            program: number;
            /** Pitch */
            pitch: number;
            /** Velocity */
            velocity: number;
            /** Onset Beats */
            onset_beats: number;
            /** Duration Beats */
            duration_beats: number;
            /**
             * Nats
             * @description surprise: of all its parts
             */
            nats: number;
            /**
             * Probability
             * @description of its pitch, given all before it
             */
            probability: number;
            /**
             * Alternatives
             * @description the likeliest pitches in its place
             */
            alternatives: components["schemas"]["PitchWeighed"][];
            /** Parts */
            parts: components["schemas"]["NotePart"][];
        };
        /**
         * Explanation
         * @description POST /v1/explain.
         */
        Explanation: {
            /** Model */
            model: string;
            /**
             * Notes
             * @description in the order in which the model reads them
             */
            notes: components["schemas"]["ExplainedNote"][];
            /**
             * Nats Per Note
             * @description of all tokens that were read, those of time and bars too, divided by the notes
             */
            nats_per_note: number | null;
            /**
             * Skipped
             * @description what of the file is not explained, and why
             */
            skipped: string[];
        };
        /**
         * GenerateRequest
         * @description A new piece, by the settings of `midifactory generate`.
         * @example {
         *       "bars": 4,
         *       "seed": 7
         *     }
         * @example {
         *       "bars": 8,
         *       "chords": "C G Am F",
         *       "seed": 7,
         *       "style": "chords",
         *       "tempo_bpm": 100
         *     }
         */
        GenerateRequest: {
            /**
             * Model
             * @description which of the models (GET /v1/models); the first one
             * @default null
             */
            model?: string | null;
            /**
             * Num Samples
             * @description how many pieces
             * @default 1
             */
            num_samples?: number;
            /**
             * Seed
             * @description the same seed, the same music; null draws one
             * @default null
             */
            seed?: number | null;
            /**
             * Temperature
             * @description below 1 careful, above 1 bold, 0 the likeliest alone
             * @default 0.95
             */
            temperature?: number;
            /**
             * Top K
             * @description only so many of the likeliest tokens; 0: all
             * @default 0
             */
            top_k?: number;
            /**
             * Top P
             * @description the fewest tokens that hold this probability; 1: all
             * @default 0.97
             */
            top_p?: number;
            /**
             * Min P
             * @description only tokens as likely as this share of the likeliest; 0: all
             * @default 0
             */
            min_p?: number;
            /**
             * Typical P
             * @description the most typical tokens of this probability; 1: all
             * @default 1
             */
            typical_p?: number;
            /**
             * Pitch Range
             * @description lowest and highest MIDI pitch of new notes, drums aside; null: the corpus' own ranges
             * @default null
             * @example [
             *       48,
             *       84
             *     ]
             */
            pitch_range?: number[] | null;
            /**
             * Key
             * @description the key that is preferred
             * @default null
             * @example D minor
             */
            key?: string | null;
            /**
             * Key Strength
             * @description nats by which pitches outside the key are held back
             * @default 3
             */
            key_strength?: number;
            /**
             * Instruments
             * @description only these, each of which plays: names or General MIDI programs, -1 or drums
             * @default null
             * @example [
             *       "piano",
             *       "bass",
             *       "drums"
             *     ]
             */
            instruments?: (string | number)[] | null;
            /**
             * Polyphony
             * @description how many notes may sound at once; a word is told to models that know it
             * @default null
             */
            polyphony?: number | ("low" | "medium" | "high") | null;
            /**
             * Density
             * @description notes that begin in a quarter note, all voices together; or a word, see polyphony
             * @default null
             */
            density?: number | ("low" | "medium" | "high") | null;
            /**
             * Rhythm Grid
             * @description grid of onsets in quarter notes, such as 0.25
             * @default null
             */
            rhythm_grid?: number | null;
            /**
             * Mean Pitch
             * @description MIDI pitch; of models that were told it
             * @default null
             */
            mean_pitch?: number | ("low" | "medium" | "high") | null;
            /**
             * Note Length
             * @description quarter notes; of models that were told it
             * @default null
             */
            note_length?: number | ("low" | "medium" | "high") | null;
            /**
             * Harmony
             * @description a chord for each bar, over again: C G Am F
             * @default null
             */
            harmony?: string | null;
            /**
             * Harmony Strength
             * @description nats by which other pitches are held back
             * @default 3
             */
            harmony_strength?: number;
            /**
             * Repetition Penalty
             * @description of pitches that have just been played; 1: none
             * @default 1
             */
            repetition_penalty?: number;
            /**
             * Max Copy Beats
             * @description no longer run of notes is copied from the training set; null: no limit
             * @default null
             */
            max_copy_beats?: number | null;
            /**
             * Grammar
             * @description false: whatever the model says, lawful music or not
             * @default true
             */
            grammar?: boolean;
            /**
             * Conditions
             * @description what the model is told, by name, of what GET /v1/models lists
             */
            conditions?: {
                [key: string]: string | number | null;
            };
            /**
             * Guidance
             * @description how strongly that is followed; 1 as trained, 0 not at all
             * @default 1
             */
            guidance?: number;
            /**
             * Bars
             * @description length; one of bars, seconds, tokens; else 8 bars
             * @default null
             */
            bars?: number | null;
            /**
             * Seconds
             * @description length in seconds
             * @default null
             */
            seconds?: number | null;
            /**
             * Tokens
             * @description length in tokens
             * @default null
             */
            tokens?: number | null;
            /**
             * Best Of
             * @description each sample is the best of so many
             * @default 1
             */
            best_of?: number;
            /**
             * Best By
             * @description likelihood, or a statistic that is to be great: scale_consistency
             * @default likelihood
             */
            best_by?: string;
            /**
             * Temperature Per Type
             * @description of tokens of a type, such as Pitch
             */
            temperature_per_type?: {
                [key: string]: number;
            };
            /**
             * Style
             * @description how it begins: a name of GET /v1/styles
             * @default free
             */
            style?: string | components["schemas"]["StyleAsked"];
            /**
             * Chords
             * @description for styles: C G Am F, or I V vi IV in the key
             * @default null
             */
            chords?: string | null;
            /**
             * Tempo Bpm
             * @description quarter notes a minute; a word is for models that were told tempos
             * @default null
             */
            tempo_bpm?: number | ("low" | "medium" | "high") | null;
            /**
             * Metre
             * @description such as 3/4
             * @default null
             */
            metre?: string | null;
            /**
             * Prompt
             * @description a MIDI file to go on from, in base64
             * @default null
             */
            prompt?: string | null;
            /**
             * Prompt Bars
             * @description only the prompt's first bars
             * @default null
             */
            prompt_bars?: number | null;
            /**
             * Prompt Notes
             * @description only the prompt's first notes
             * @default null
             */
            prompt_notes?: number | null;
        };
        /**
         * Health
         * @description GET /v1/health.
         */
        Health: {
            /**
             * Status
             * @description ok
             */
            status: string;
            /**
             * Midifactory
             * @description the version
             */
            midifactory: string;
            /** Models */
            models: string[];
        };
        /**
         * Metre
         * @description A metre such as 3/4, and where it begins.
         */
        Metre: {
            /** Onset Beats */
            onset_beats: number;
            /** Metre */
            metre: string;
        };
        /**
         * Model
         * @description A model, what it was trained on, and what it may be asked for.
         */
        Model: {
            /** Name */
            name: string;
            /**
             * Sha256
             * @description of the checkpoint
             */
            sha256: string;
            /**
             * Model
             * @description its class
             */
            model: string;
            /** Parameters */
            parameters: number;
            /** Corpus */
            corpus: string;
            /** Tokenizer */
            tokenizer: string;
            /** Window Tokens */
            window_tokens: number | null;
            /**
             * Infills
             * @description whether POST /v1/infill may be asked of it
             */
            infills: boolean;
            /** Continues */
            continues: boolean;
            /** Grammar */
            grammar: boolean;
            /**
             * Originality
             * @description whether pieces are compared with what it was trained on
             */
            originality: boolean;
            /**
             * Conditions
             * @description what it may be told, by name, and which values
             */
            conditions: {
                [key: string]: string;
            };
            /**
             * Programs
             * @description General MIDI programs of its corpus, -1 for drums, those of most notes first
             */
            programs: number[];
            /** Tempo Bpm */
            tempo_bpm: number;
            /** Metre */
            metre: string;
        };
        /**
         * Models
         * @description GET /v1/models, POST /v1/reload.
         */
        Models: {
            /** Models */
            models: components["schemas"]["Model"][];
        };
        /**
         * Note
         * @description A note. program: of General MIDI, -1 for drums; times from the begin of the piece, a beat is a quarter note.
         */
        Note: {
            /** Program */
            program: number;
            /** Pitch */
            pitch: number;
            /** Velocity */
            velocity: number;
            /** Onset Beats */
            onset_beats: number;
            /** Duration Beats */
            duration_beats: number;
            /** Onset Seconds */
            onset_seconds: number;
            /** Duration Seconds */
            duration_seconds: number;
            /**
             * Track
             * @description the number of its track in the piece, from 0
             */
            track: number;
        };
        /**
         * NotePart
         * @description A token that says something of a note.
         */
        NotePart: {
            /**
             * Type
             * @description such as Pitch; those of a merged token are joined by +
             */
            type: string;
            /** Value */
            value: string;
            /**
             * Nats
             * @description the note's share: a token of several notes is divided among them
             */
            nats: number;
            /**
             * Probability
             * @description of the token, given all before it
             */
            probability: number;
            /**
             * Alternatives
             * @description the likeliest values of the same type
             */
            alternatives: components["schemas"]["ValueWeighed"][];
        };
        /**
         * NoteWeight
         * @description How much of a model's attention a note got.
         */
        NoteWeight: {
            /**
             * Note
             * @description its place in the answer of POST /v1/explain
             */
            note: number;
            /** Weight */
            weight: number;
        };
        /**
         * Piece
         * @description A piece as notes and as a file.
         */
        Piece: {
            /**
             * Sample
             * @description its number, from 1
             */
            sample: number;
            /** Bars */
            bars: number;
            /** Seconds */
            seconds: number;
            /** Notes */
            notes: components["schemas"]["Note"][];
            /** Tempos */
            tempos: components["schemas"]["Tempo"][];
            /** Metres */
            metres: components["schemas"]["Metre"][];
            /** Tracks */
            tracks: components["schemas"]["Track"][];
            /**
             * Prompt End Beats
             * @description where new music begins; 0 without a prompt
             */
            prompt_end_beats: number;
            /**
             * New Beats
             * @description begin and end of what was filled anew
             */
            new_beats?: number[] | null;
            /**
             * Originality
             * @description how much stands in the training set; null: nobody knows
             */
            originality: {
                [key: string]: unknown;
            } | null;
            /**
             * Truncated
             * @description whether the server's limit of tokens ended it before its length
             */
            truncated: boolean;
            /**
             * Midi
             * @description the file, in base64
             */
            midi: string;
        };
        /**
         * Pieces
         * @description What was composed.
         */
        Pieces: {
            /** Model */
            model: string;
            /**
             * Seed
             * @description asked for again, with the same settings and model, it gives the same pieces
             */
            seed: number;
            /**
             * Tokens
             * @description how many were decoded
             */
            tokens: number;
            /**
             * Said
             * @description what the server had to say of the settings
             */
            said: string[];
            /** Pieces */
            pieces: components["schemas"]["Piece"][];
        };
        /**
         * PitchWeighed
         * @description A pitch that a model weighed.
         */
        PitchWeighed: {
            /** Pitch */
            pitch: number;
            /** Probability */
            probability: number;
        };
        /**
         * Style
         * @description A way to begin, with its settings and their defaults.
         */
        Style: {
            /** Name */
            name: string;
            /** Description */
            description: string;
            /** Settings */
            settings: {
                [key: string]: unknown;
            };
        };
        /**
         * StyleAsked
         * @description A style by its name, and settings of its own.
         */
        StyleAsked: {
            /**
             * Name
             * @description one of GET /v1/styles
             * @example chords
             */
            name: string;
        } & {
            [key: string]: unknown;
        };
        /**
         * Styles
         * @description GET /v1/styles.
         */
        Styles: {
            /** Styles */
            styles: components["schemas"]["Style"][];
        };
        /**
         * Tempo
         * @description A tempo, in quarter notes a minute, and where it begins.
         */
        Tempo: {
            /** Onset Beats */
            onset_beats: number;
            /** Bpm */
            bpm: number;
        };
        /**
         * Track
         * @description A track of a piece. program: of General MIDI, -1 for drums.
         */
        Track: {
            /** Name */
            name: string;
            /** Program */
            program: number;
        };
        /**
         * ValueWeighed
         * @description A value of a token that a model weighed.
         */
        ValueWeighed: {
            /** Value */
            value: string;
            /** Probability */
            probability: number;
        };
        /**
         * VoteRequest
         * @description Which of two pieces is liked better.
         * @example {
         *       "choice": "first",
         *       "pair": "Zm9v8m1sAq0dTn2k"
         *     }
         */
        VoteRequest: {
            /**
             * Pair
             * @description as POST /v1/blind told it
             */
            pair: string;
            /**
             * Choice
             * @enum {string}
             */
            choice: "first" | "second" | "neither";
        };
        /**
         * VoteResult
         * @description What the votes on two models say. The models stand in the order of their names.
         */
        VoteResult: {
            /** Models */
            models: string[];
            /**
             * Sha256
             * @description of their checkpoints
             */
            sha256: string[];
            /** Wins First Model */
            wins_first_model: number;
            /** Wins Second Model */
            wins_second_model: number;
            /**
             * Neither
             * @description votes that decided nothing; they are not counted in the share
             */
            neither: number;
            /**
             * Share
             * @description of the first model among decided votes; null without any
             */
            share: number | null;
            /**
             * Low
             * @description lower end of the share's 95 % interval (Wilson 1927)
             */
            low: number | null;
            /** High */
            high: number | null;
        };
        /**
         * Voted
         * @description POST /v1/votes: whose the pieces were, and what all votes say by now.
         */
        Voted: {
            /**
             * First
             * @description the model of the first piece
             */
            first: string;
            /** Second */
            second: string;
            /** Results */
            results: components["schemas"]["VoteResult"][];
        };
        /**
         * VotesTold
         * @description GET /v1/votes.
         */
        VotesTold: {
            /** Results */
            results: components["schemas"]["VoteResult"][];
            /**
             * File
             * @description where the server keeps the votes, a line of JSON each
             */
            file: string;
        };
        /**
         * ProblemDetails
         * @description An error, as RFC 9457 describes it (application/problem+json).
         */
        ProblemDetails: {
            /**
             * Type
             * @description always about:blank: the status says what kind it is
             * @default about:blank
             */
            type?: string;
            /**
             * Title
             * @description what kind of problem it is
             */
            title: string;
            /**
             * Status
             * @description the HTTP status
             */
            status: number;
            /**
             * Detail
             * @description one line: the value, the limit and the remedy
             */
            detail: string;
            /**
             * Name
             * @description of which field
             * @default null
             */
            name?: string | null;
            /**
             * Value
             * @description what was given
             * @default null
             */
            value?: unknown;
            /**
             * Limit
             * @description what is possible
             * @default null
             */
            limit?: unknown;
            /**
             * Remedy
             * @description what to do instead
             * @default null
             */
            remedy?: string | null;
            /**
             * Errors
             * @description the fields that are wrong, where there are several
             * @default null
             */
            errors?: {
                [key: string]: unknown;
            }[] | null;
        };
        /**
         * StreamStart
         * @description The event `start` of a stream.
         */
        StreamStart: {
            /** Model */
            model: string;
            /** Seed */
            seed: number;
            /**
             * Said
             * @description what the server had to say of the settings
             */
            said: string[];
        };
        /**
         * StreamNote
         * @description The event `note` of a stream, see Note.
         */
        StreamNote: {
            /**
             * Sample
             * @description the number of its piece, from 1
             */
            sample: number;
            /** Program */
            program: number;
            /** Pitch */
            pitch: number;
            /** Velocity */
            velocity: number;
            /** Onset Beats */
            onset_beats: number;
            /** Duration Beats */
            duration_beats: number;
            /** Onset Seconds */
            onset_seconds: number;
            /** Duration Seconds */
            duration_seconds: number;
        };
        /**
         * StreamedPiece
         * @description A piece at a stream's end, when its notes have been told.
         */
        StreamedPiece: {
            /**
             * Sample
             * @description its number, from 1
             */
            sample: number;
            /** Bars */
            bars: number;
            /** Seconds */
            seconds: number;
            /**
             * Notes
             * @description how many
             */
            notes: number;
            /** Tempos */
            tempos: components["schemas"]["Tempo"][];
            /** Metres */
            metres: components["schemas"]["Metre"][];
            /** Tracks */
            tracks: components["schemas"]["Track"][];
            /**
             * Prompt End Beats
             * @description where new music begins; 0 without a prompt
             */
            prompt_end_beats: number;
            /**
             * New Beats
             * @description begin and end of what was filled anew
             * @default null
             */
            new_beats?: number[] | null;
            /**
             * Originality
             * @description how much stands in the training set; null: nobody knows
             */
            originality: {
                [key: string]: unknown;
            } | null;
            /**
             * Truncated
             * @description whether the server's limit of tokens ended it before its length
             */
            truncated: boolean;
            /**
             * Midi
             * @description the file, in base64
             */
            midi: string;
        };
        /**
         * StreamEnd
         * @description The event `end` of a stream.
         */
        StreamEnd: {
            /** Model */
            model: string;
            /**
             * Seed
             * @description asked for again, with the same settings and model, it gives the same pieces
             */
            seed: number;
            /**
             * Tokens
             * @description how many were decoded
             */
            tokens: number;
            /**
             * Said
             * @description what the server had to say of the settings
             */
            said: string[];
            /** Pieces */
            pieces: components["schemas"]["StreamedPiece"][];
        };
        /**
         * ContinueRequest
         * @description How a MIDI file goes on, by the settings of `midifactory continue`; metre and tempo are the file's.
         * @example {
         *       "bars": 4,
         *       "seed": 7
         *     }
         * @example {
         *       "bars": 2,
         *       "from_bar": 3
         *     }
         */
        ContinueRequest: {
            /**
             * Model
             * @description which of the models (GET /v1/models); the first one
             * @default null
             */
            model?: string | null;
            /**
             * Num Samples
             * @description how many pieces
             * @default 1
             */
            num_samples?: number;
            /**
             * Seed
             * @description the same seed, the same music; null draws one
             * @default null
             */
            seed?: number | null;
            /**
             * Temperature
             * @description below 1 careful, above 1 bold, 0 the likeliest alone
             * @default 0.95
             */
            temperature?: number;
            /**
             * Top K
             * @description only so many of the likeliest tokens; 0: all
             * @default 0
             */
            top_k?: number;
            /**
             * Top P
             * @description the fewest tokens that hold this probability; 1: all
             * @default 0.97
             */
            top_p?: number;
            /**
             * Min P
             * @description only tokens as likely as this share of the likeliest; 0: all
             * @default 0
             */
            min_p?: number;
            /**
             * Typical P
             * @description the most typical tokens of this probability; 1: all
             * @default 1
             */
            typical_p?: number;
            /**
             * Pitch Range
             * @description lowest and highest MIDI pitch of new notes, drums aside; null: the corpus' own ranges
             * @default null
             * @example [
             *       48,
             *       84
             *     ]
             */
            pitch_range?: number[] | null;
            /**
             * Key
             * @description the key that is preferred
             * @default null
             * @example D minor
             */
            key?: string | null;
            /**
             * Key Strength
             * @description nats by which pitches outside the key are held back
             * @default 3
             */
            key_strength?: number;
            /**
             * Instruments
             * @description only these, each of which plays: names or General MIDI programs, -1 or drums
             * @default null
             * @example [
             *       "piano",
             *       "bass",
             *       "drums"
             *     ]
             */
            instruments?: (string | number)[] | null;
            /**
             * Polyphony
             * @description how many notes may sound at once; a word is told to models that know it
             * @default null
             */
            polyphony?: number | ("low" | "medium" | "high") | null;
            /**
             * Density
             * @description notes that begin in a quarter note, all voices together; or a word, see polyphony
             * @default null
             */
            density?: number | ("low" | "medium" | "high") | null;
            /**
             * Rhythm Grid
             * @description grid of onsets in quarter notes, such as 0.25
             * @default null
             */
            rhythm_grid?: number | null;
            /**
             * Mean Pitch
             * @description MIDI pitch; of models that were told it
             * @default null
             */
            mean_pitch?: number | ("low" | "medium" | "high") | null;
            /**
             * Note Length
             * @description quarter notes; of models that were told it
             * @default null
             */
            note_length?: number | ("low" | "medium" | "high") | null;
            /**
             * Harmony
             * @description a chord for each bar, over again: C G Am F
             * @default null
             */
            harmony?: string | null;
            /**
             * Harmony Strength
             * @description nats by which other pitches are held back
             * @default 3
             */
            harmony_strength?: number;
            /**
             * Repetition Penalty
             * @description of pitches that have just been played; 1: none
             * @default 1
             */
            repetition_penalty?: number;
            /**
             * Max Copy Beats
             * @description no longer run of notes is copied from the training set; null: no limit
             * @default null
             */
            max_copy_beats?: number | null;
            /**
             * Grammar
             * @description false: whatever the model says, lawful music or not
             * @default true
             */
            grammar?: boolean;
            /**
             * Conditions
             * @description what the model is told, by name, of what GET /v1/models lists
             */
            conditions?: {
                [key: string]: string | number | null;
            };
            /**
             * Guidance
             * @description how strongly that is followed; 1 as trained, 0 not at all
             * @default 1
             */
            guidance?: number;
            /**
             * Bars
             * @description length; one of bars, seconds, tokens; else 8 bars
             * @default null
             */
            bars?: number | null;
            /**
             * Seconds
             * @description length in seconds
             * @default null
             */
            seconds?: number | null;
            /**
             * Tokens
             * @description length in tokens
             * @default null
             */
            tokens?: number | null;
            /**
             * Best Of
             * @description each sample is the best of so many
             * @default 1
             */
            best_of?: number;
            /**
             * Best By
             * @description likelihood, or a statistic that is to be great: scale_consistency
             * @default likelihood
             */
            best_by?: string;
            /**
             * Temperature Per Type
             * @description of tokens of a type, such as Pitch
             */
            temperature_per_type?: {
                [key: string]: number;
            };
            /**
             * From Bar
             * @description the bar from which on it is composed anew; null: after its last bar
             * @default null
             */
            from_bar?: number | null;
            /**
             * Prompt Bars
             * @description how many bars before that are heard
             * @default null
             */
            prompt_bars?: number | null;
        };
        /**
         * InfillRequest
         * @description What of a MIDI file is filled anew, by the settings of `midifactory infill`; the rest stays as it is.
         * @example {
         *       "bars": "2-3",
         *       "seed": 7,
         *       "tracks": "alto"
         *     }
         */
        InfillRequest: {
            /**
             * Model
             * @description which of the models (GET /v1/models); the first one
             * @default null
             */
            model?: string | null;
            /**
             * Num Samples
             * @description how many pieces
             * @default 1
             */
            num_samples?: number;
            /**
             * Seed
             * @description the same seed, the same music; null draws one
             * @default null
             */
            seed?: number | null;
            /**
             * Temperature
             * @description below 1 careful, above 1 bold, 0 the likeliest alone
             * @default 0.95
             */
            temperature?: number;
            /**
             * Top K
             * @description only so many of the likeliest tokens; 0: all
             * @default 0
             */
            top_k?: number;
            /**
             * Top P
             * @description the fewest tokens that hold this probability; 1: all
             * @default 0.97
             */
            top_p?: number;
            /**
             * Min P
             * @description only tokens as likely as this share of the likeliest; 0: all
             * @default 0
             */
            min_p?: number;
            /**
             * Typical P
             * @description the most typical tokens of this probability; 1: all
             * @default 1
             */
            typical_p?: number;
            /**
             * Pitch Range
             * @description lowest and highest MIDI pitch of new notes, drums aside; null: the corpus' own ranges
             * @default null
             * @example [
             *       48,
             *       84
             *     ]
             */
            pitch_range?: number[] | null;
            /**
             * Bars
             * @description bars from 1 on, the last one included: 5-8, 3, 9- or all
             * @default null
             * @example 5-8
             */
            bars?: string | number | null;
            /**
             * Tracks
             * @description names, instruments or numbers from 1 of tracks; null: all with notes
             * @default null
             * @example bass
             */
            tracks?: string | (string | number)[] | null;
        };
        /**
         * AnalyzeRequest
         * @description What is to be said of a MIDI file.
         */
        AnalyzeRequest: {
            /**
             * Model
             * @description compare the file with what this model was trained on; null: do not
             * @default null
             */
            model?: string | null;
        };
        /**
         * ExplainRequest
         * @description What is to be said of a model's reading of a MIDI file.
         */
        ExplainRequest: {
            /**
             * Model
             * @description which of the models reads it; the first one
             * @default null
             */
            model?: string | null;
            /**
             * Alternatives
             * @description how many likeliest values of each token are told
             * @default 5
             */
            alternatives?: number;
        };
        /**
         * AttentionRequest
         * @description Where a transformer looked when it chose a note.
         * @example {
         *       "note": 8
         *     }
         * @example {
         *       "head": 1,
         *       "layer": 0,
         *       "note": 8
         *     }
         */
        AttentionRequest: {
            /**
             * Model
             * @description which of the models; the first one
             * @default null
             */
            model?: string | null;
            /**
             * Note
             * @description the place of the note in the answer of POST /v1/explain, from 0
             */
            note: number;
            /**
             * Layer
             * @description from 0; null: the mean of all
             * @default null
             */
            layer?: number | null;
            /**
             * Head
             * @description from 0; null: the mean of all
             * @default null
             */
            head?: number | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    generate: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GenerateRequest"];
            };
        };
        responses: {
            /** @description What was composed */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pieces"];
                    "audio/midi": string;
                    "audio/wav": string;
                    "image/png": string;
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    continue: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_continue"];
            };
        };
        responses: {
            /** @description What was composed */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pieces"];
                    "audio/midi": string;
                    "audio/wav": string;
                    "image/png": string;
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    infill: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_infill"];
            };
        };
        responses: {
            /** @description What was composed */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pieces"];
                    "audio/midi": string;
                    "audio/wav": string;
                    "image/png": string;
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    stream_by_get: {
        parameters: {
            query?: {
                /** @description which of the models (GET /v1/models); the first one */
                model?: string | null;
                /** @description how many pieces */
                num_samples?: number;
                /** @description the same seed, the same music; null draws one */
                seed?: number | null;
                /** @description below 1 careful, above 1 bold, 0 the likeliest alone */
                temperature?: number;
                /** @description only so many of the likeliest tokens; 0: all */
                top_k?: number;
                /** @description the fewest tokens that hold this probability; 1: all */
                top_p?: number;
                /** @description only tokens as likely as this share of the likeliest; 0: all */
                min_p?: number;
                /** @description the most typical tokens of this probability; 1: all */
                typical_p?: number;
                /** @description lowest and highest MIDI pitch of new notes, drums aside; null: the corpus' own ranges */
                pitch_range?: number[] | null;
                /** @description the key that is preferred */
                key?: string | null;
                /** @description nats by which pitches outside the key are held back */
                key_strength?: number;
                /** @description only these, each of which plays: names or General MIDI programs, -1 or drums */
                instruments?: (string | number)[] | null;
                /** @description how many notes may sound at once; a word is told to models that know it */
                polyphony?: number | ("low" | "medium" | "high") | null;
                /** @description notes that begin in a quarter note, all voices together; or a word, see polyphony */
                density?: number | ("low" | "medium" | "high") | null;
                /** @description grid of onsets in quarter notes, such as 0.25 */
                rhythm_grid?: number | null;
                /** @description MIDI pitch; of models that were told it */
                mean_pitch?: number | ("low" | "medium" | "high") | null;
                /** @description quarter notes; of models that were told it */
                note_length?: number | ("low" | "medium" | "high") | null;
                /** @description a chord for each bar, over again: C G Am F */
                harmony?: string | null;
                /** @description nats by which other pitches are held back */
                harmony_strength?: number;
                /** @description of pitches that have just been played; 1: none */
                repetition_penalty?: number;
                /** @description no longer run of notes is copied from the training set; null: no limit */
                max_copy_beats?: number | null;
                /** @description false: whatever the model says, lawful music or not */
                grammar?: boolean;
                /** @description how strongly that is followed; 1 as trained, 0 not at all */
                guidance?: number;
                /** @description length; one of bars, seconds, tokens; else 8 bars */
                bars?: number | null;
                /** @description length in seconds */
                seconds?: number | null;
                /** @description length in tokens */
                tokens?: number | null;
                /** @description each sample is the best of so many */
                best_of?: number;
                /** @description likelihood, or a statistic that is to be great: scale_consistency */
                best_by?: string;
                /** @description for styles: C G Am F, or I V vi IV in the key */
                chords?: string | null;
                /** @description quarter notes a minute; a word is for models that were told tempos */
                tempo_bpm?: number | ("low" | "medium" | "high") | null;
                /** @description such as 3/4 */
                metre?: string | null;
                /** @description how it begins */
                style?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events. `start` {model, seed, said}; `note` {sample, program, pitch, velocity, onset_beats, duration_beats, onset_seconds, duration_seconds} as soon as a note is whole, those of an opening first; `end` as the answer of POST /v1/generate, `notes` being their number; or `problem` {status, detail, ...} where something goes wrong on the way. A comment is sent every few seconds while there is nothing to say. Whoever leaves stops the work. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    stream_by_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GenerateRequest"];
            };
        };
        responses: {
            /** @description Server-sent events. `start` {model, seed, said}; `note` {sample, program, pitch, velocity, onset_beats, duration_beats, onset_seconds, duration_seconds} as soon as a note is whole, those of an opening first; `end` as the answer of POST /v1/generate, `notes` being their number; or `problem` {status, detail, ...} where something goes wrong on the way. A comment is sent every few seconds while there is nothing to say. Whoever leaves stops the work. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": unknown;
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    analyze: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_analyze"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Analysis"];
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    explain: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_explain"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Explanation"];
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    attention: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_attention"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AttentionTold"];
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    blind: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BlindRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BlindPair"];
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    votes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VotesTold"];
                };
            };
            /** @description A problem (RFC 9457) */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    vote: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["VoteRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Voted"];
                };
            };
            /** @description A problem (RFC 9457) */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            408: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description A problem (RFC 9457) */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
    models: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Models"];
                };
            };
        };
    };
    list_styles: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Styles"];
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": unknown;
                };
            };
        };
    };
    reload: {
        parameters: {
            query?: {
                model?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Models"];
                };
            };
            /** @description A problem (RFC 9457) */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
            /** @description A problem (RFC 9457) */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["ProblemDetails"];
                };
            };
        };
    };
}
